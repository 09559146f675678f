// The product whose rows are judged beside float64 on the host, without LibTorch, at small and odd sizes: a program
// that compute-sanitizer goes through in seconds. CONTRIBUTING.md says how it is built. Exits with 0 where they agree.
#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/cuda_launch.h"

namespace {

using namespace demask::kernels::cuda::launch;
using Value = __nv_bfloat16;

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    std::exit(2);
  }
}

template <typename T>
T* room_for(const std::vector<T>& values) {
  T* room = nullptr;
  check(cudaMalloc(&room, values.size() * sizeof(T)), "cudaMalloc");
  check(cudaMemcpy(room, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  return room;
}

// Numbers within -scale .. scale, the same in each run.
std::vector<Value> numbers(int64_t count, uint64_t seed, float scale) {
  std::vector<Value> values;
  uint64_t state = seed;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    values.push_back(__float2bfloat16((static_cast<float>(state >> 40) / 8388608.0F - 1) * scale));
  }
  return values;
}

// The logarithm of a token's probability.
double expected(const Value* x, const std::vector<Value>& weight, int64_t inner, int64_t outputs, int64_t token) {
  std::vector<double> logits;
  for (int64_t output = 0; output < outputs; ++output) {
    double logit = 0;
    for (int64_t i = 0; i < inner; ++i) {
      logit += static_cast<double>(__bfloat162float(x[i])) *
               static_cast<double>(__bfloat162float(weight[static_cast<size_t>(output * inner + i)]));
    }
    logits.push_back(logit);
  }
  double total = 0;  // logits are small here
  for (const double logit : logits) {
    total += std::exp(logit);
  }
  return logits[static_cast<size_t>(token)] - std::log(total);
}

bool agrees(int64_t rows, int64_t inner, int64_t outputs) {
  const std::vector<Value> x = numbers(rows * inner, 1, 1), weight = numbers(outputs * inner, 2, 0.2F);
  std::vector<int64_t> tokens;
  for (int64_t row = 0; row < rows; ++row) {
    tokens.push_back(row == 0 ? outputs - 1 : row * 7919 % outputs);
  }
  std::vector<float> found(static_cast<size_t>(rows));
  JudgedProductArguments a;
  a.x = room_for(x);
  a.weight = room_for(weight);
  a.tokens = room_for(tokens);
  a.rows = rows;
  a.inner = inner;
  a.outputs = outputs;
  a.parts = room_for(std::vector<float>(static_cast<size_t>(judged_parts_of(rows))));
  a.logits = room_for(found);
  a.out = room_for(found);
  a.broken = reinterpret_cast<bool*>(room_for(std::vector<uint8_t>(1)));
  const bool taken = takes_judged_product(inner) && judged_product(Precision::bfloat16, a, nullptr);
  check(cudaDeviceSynchronize(), "kernels");
  check(cudaMemcpy(found.data(), a.out, found.size() * sizeof(float), cudaMemcpyDeviceToHost), "cudaMemcpy");
  constexpr int64_t compared = 40;  // rows, evenly apart: the host is slow
  double off = 0;
  for (int64_t row = 0; row < rows; row += 1 + rows / compared) {
    const double own = expected(x.data() + row * inner, weight, inner, outputs, tokens[static_cast<size_t>(row)]);
    off = std::fmax(off, std::fabs(own - static_cast<double>(found[static_cast<size_t>(row)])));
  }
  // Sums of `inner` terms in float32, of at most 8 together.
  const bool fine = taken && off < 2e-4;
  std::printf("%d rows of %d by %d outputs: off by %.1e%s\n", static_cast<int>(rows), static_cast<int>(inner),
              static_cast<int>(outputs), off, taken ? fine ? "" : ", DIFFERENT" : ", not taken");
  return fine;
}

}  // namespace

int main() {
  bool fine = true;
  fine = agrees(1, 256, 300) && fine;
  fine = agrees(300, 264, 4099) && fine;
  fine = agrees(77, 320, 1031) && fine;
  return fine ? 0 : 1;
}
