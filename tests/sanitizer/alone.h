// What the programs of this folder share. Each runs a kernel beside float64 on the host, without LibTorch and at small
// and odd sizes, so that compute-sanitizer goes through it in seconds. `tests/sanitizer/run` builds and runs them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda_launch.h"

namespace demask::alone {

using kernels::cuda::launch::Precision;

// Ends the program: after an error of the device nothing else can be found out.
inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    std::exit(2);
  }
}

// Values in device memory. All are given, so that initcheck finds nothing but what a kernel reads beyond them.
template <typename T>
class Room {
 public:
  explicit Room(const std::vector<T>& values) : count_(values.size()) {
    check(cudaMalloc(&data_, count_ * sizeof(T)), "cudaMalloc");
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() { cudaFree(data_); }

  T* data() { return data_; }
  // Once all kernels have ended.
  std::vector<T> values() const {
    check(cudaDeviceSynchronize(), "kernels");
    std::vector<T> values(count_);
    check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// Half precisions: the nearest value of one, and how far that may be from 1.
template <typename T>
struct Half;
template <>
struct Half<__half> {
  static constexpr Precision precision = Precision::float16;
  static constexpr const char* name = "float16";
  static constexpr double rounding = 1.0 / 2048;
  static __half nearest(double x) { return __double2half(x); }
};
template <>
struct Half<__nv_bfloat16> {
  static constexpr Precision precision = Precision::bfloat16;
  static constexpr const char* name = "bfloat16";
  static constexpr double rounding = 1.0 / 256;
  static __nv_bfloat16 nearest(double x) { return __double2bfloat16(x); }
};

template <typename T>
double exact(T x) {
  return static_cast<double>(static_cast<float>(x));
}

// Numbers within -scale .. scale, the same in each run.
inline std::vector<float> uniform_numbers(int64_t count, uint64_t seed, double scale) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(count));
  uint64_t state = seed;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    values.push_back(static_cast<float>((static_cast<double>(state >> 40) / 8388608.0 - 1) * scale));
  }
  return values;
}
template <typename T>
std::vector<T> numbers(int64_t count, uint64_t seed, double scale) {
  std::vector<T> values;
  values.reserve(static_cast<size_t>(count));
  for (const float x : uniform_numbers(count, seed, scale)) {
    values.push_back(Half<T>::nearest(static_cast<double>(x)));
  }
  return values;
}

// The matrices `begin` .. `begin + count - 1` of equal ones, each of so many values.
template <typename T>
std::vector<T> part(const std::vector<T>& all, int64_t begin, int64_t count, int64_t each) {
  return {all.begin() + begin * each, all.begin() + (begin + count) * each};
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// What a kernel is to write, with a margin behind that it must leave alone.
template <typename T>
class Written {
 public:
  explicit Written(int64_t count) : count_(count), room_(std::vector<T>(static_cast<size_t>(count + margin), nan())) {}
  T* data() { return room_.data(); }
  // Sets `whole` to false where a value is missing or the margin has one.
  std::vector<T> values(bool& whole) const {
    std::vector<T> all = room_.values();
    for (size_t i = 0; i < all.size(); ++i) {
      whole = whole && std::isnan(exact(all[i])) == (i >= static_cast<size_t>(count_));
    }
    all.resize(static_cast<size_t>(count_));
    return all;
  }

 private:
  static constexpr int64_t margin = 4096;
  static T nan() { return Half<T>::nearest(std::nan("")); }
  int64_t count_;
  Room<T> room_;
};

// The largest difference and the largest number that was expected.
struct Difference {
  double most = 0, largest = 0;
  void add(double found, double expected) {
    const double off = std::fabs(found - expected);
    most = off <= most ? most : off;  // one that is not a number stays
    largest = std::fmax(largest, std::fabs(expected));
  }
  double relative() const { return most / largest; }
};

// Softmax(scores * scale) times `values` [keys, width], of one query; `query` and a key have `width` values, too.
// key_of and value_of return a pointer to a key's.
template <typename Query, typename KeyOf, typename ValueOf>
std::vector<double> attended(const Query* query, int64_t keys, int64_t width, const KeyOf& key_of,
                             const ValueOf& value_of) {
  std::vector<double> powers, mixed(static_cast<size_t>(width));
  double total = 0;  // scores are small here
  for (int64_t key = 0; key < keys; ++key) {
    double score = 0;
    for (int64_t i = 0; i < width; ++i) {
      score += exact(query[i]) * exact(key_of(key)[i]);
    }
    powers.push_back(std::exp(score / std::sqrt(static_cast<double>(width))));
    total += powers.back();
  }
  for (int64_t key = 0; key < keys; ++key) {
    for (int64_t i = 0; i < width; ++i) {
      mixed[static_cast<size_t>(i)] += powers[static_cast<size_t>(key)] / total * exact(value_of(key)[i]);
    }
  }
  return mixed;
}

// Prints what a case has shown. `whole`: all is written and nothing else; `alike`: the bits that must be the same are.
inline bool report(const std::string& what, double off, double tolerance, bool taken, bool whole, bool alike) {
  const bool near = off < tolerance;  // not so where it is not a number
  std::printf("%s: off by %.1e%s%s%s%s\n", what.c_str(), off, taken ? "" : ", NOT TAKEN",
              near ? "" : ", DIFFERENT FROM FLOAT64", whole ? "" : ", NOT ALL WRITTEN OR TOO MUCH",
              alike ? "" : ", OTHER BITS ALONE");
  return near && taken && whole && alike;
}

}  // namespace demask::alone
