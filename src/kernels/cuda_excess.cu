// What speaks against tokens that a text has more often than expected.
#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int excess_threads = 512;

// A block a text. Its row of `penalty` counts first and then becomes what the counts mean.
__global__ void __launch_bounds__(excess_threads) excess_kernel(ExcessArguments a) {
  const int64_t row = blockIdx.x;
  float* penalty = a.penalty + row * a.outputs;
  const float* prior = a.prior + row * a.outputs;
  for (int64_t v = threadIdx.x; v < a.outputs; v += excess_threads) {
    penalty[v] = 0;
  }
  __syncthreads();
  int visible = 0;
  for (int64_t start = 0; start < a.length; start += excess_threads) {
    const int64_t t = start + threadIdx.x;
    const bool counts = t < a.length && a.visible[row * a.length + t];
    if (counts) {
      atomicAdd(penalty + a.tokens[row * a.length + t], 1.0F);
    }
    visible += __syncthreads_count(counts);
  }
  for (int64_t v = threadIdx.x; v < a.outputs; v += excess_threads) {
    const float count = __ldcg(penalty + v);  // atomics work past the first cache
    const float expected = prior[v] * static_cast<float>(visible);
    const float ratio = log1pf(count) - log1pf(expected);
    const float deviations = (count - expected) * rsqrtf(1 + expected) - a.usual_deviation;
    penalty[v] = a.by_count * fmaxf(ratio, 0.0F) + a.by_deviation * fmaxf(deviations, 0.0F);
  }
}

}  // namespace

void excess(const ExcessArguments& arguments, int64_t batch, cudaStream_t stream) {
  excess_kernel<<<static_cast<unsigned>(batch), excess_threads, 0, stream>>>(arguments);
}

}  // namespace demask::kernels::cuda::launch
