// A row of a large vocabulary's logits, as the threads of a block go through it.
#pragma once

#include "kernels/cuda_draw.cuh"

namespace demask::kernels::cuda::launch {

template <typename T>
__device__ const T* stage_row(const T* source, int outputs, unsigned char* stage) {
  T* copy = reinterpret_cast<T*>(stage);
  if (starts_chunk(source)) {
    constexpr int size = Chunk<T>::size;
    const int whole = outputs / size;
    for (int i = threadIdx.x; i < whole; i += wide_threads) {
      store(copy + i * size, load(source + i * size));
    }
    for (int i = whole * size + threadIdx.x; i < outputs; i += wide_threads) {
      copy[i] = source[i];
    }
  } else {
    for (int i = threadIdx.x; i < outputs; i += wide_threads) {
      copy[i] = source[i];
    }
  }
  __syncthreads();
  return copy;
}

// Logits as they are, or tempered ones.
template <typename T, bool is_tempered>
struct Row {
  static constexpr int size = 8;  // ids next to each other, for every T: so a stage changes no sum
  const T* source;
  const float* forbidden;
  int outputs;
  float temperature;
  bool greedy;
  float largest;

  // Of logits, computed again in each pass.
  __device__ float tempered(float logit, float forbids) const {
    return greedy ? logit + forbids : (logit + forbids) / temperature;
  }
  __device__ float value(int id) const {
    if constexpr (is_tempered) {
      return source[id];
    } else {
      return tempered(to_float(source[id]), __ldg(forbidden + id));
    }
  }
  __device__ bool starts_chunks() const { return starts_chunk(source) && starts_chunk(forbidden); }

  // Calls f(id, value) for the ids first .. first + size - 1, where first is a multiple of size.
  template <typename F>
  __device__ void for_chunk(int first, F f) const {
    constexpr int loaded = Chunk<T>::size, forbidden_loaded = Chunk<float>::size;
#pragma unroll
    for (int k = 0; k < size; k += forbidden_loaded) {
      const Chunk<T> logits = load(source + first + k / loaded * loaded);
      const Chunk<float> forbids = is_tempered ? Chunk<float>{} : load(forbidden + first + k);
#pragma unroll
      for (int i = 0; i < forbidden_loaded; ++i) {
        const float logit = to_float(logits.values[k % loaded + i]);
        f(first + k + i, is_tempered ? logit : tempered(logit, forbids.values[i]));
      }
    }
  }

  // Calls f(id, value) for this thread's ids; those of all threads are all.
  template <typename F>
  __device__ void for_each(F f) const {
    const int whole = starts_chunks() ? outputs / size * size : 0;
    for (int first = static_cast<int>(threadIdx.x) * size; first < whole; first += wide_threads * size) {
      for_chunk(first, f);
    }
    for (int id = whole + static_cast<int>(threadIdx.x); id < outputs; id += wide_threads) {
      f(id, value(id));
    }
  }

  // Calls f(id, value) for the ids first .. end - 1 in their order; first is a multiple of size.
  template <typename F>
  __device__ void for_range(int first, int end, F f) const {
    const bool chunks = starts_chunks();
    for (int start = first; start < end; start += size) {
      if (chunks && start + size <= end) {
        for_chunk(start, f);
      } else {
        for (int id = start; id < min(start + size, end); ++id) {
          f(id, value(id));
        }
      }
    }
  }
};

// Infinity where one is NaN.
template <typename Row>
__device__ float find_largest(const Row& row, float* scratch) {
  float largest = -INFINITY;
  bool nan = false;
  row.for_each([&](int, float x) {
    nan = nan || isnan(x);
    largest = fmaxf(largest, x);
  });
  return block_max<wide_warps>(nan ? INFINITY : largest, scratch);
}

}  // namespace demask::kernels::cuda::launch
