// The log-likelihoods of tokens under a model's head, without its logits in memory: each tile of the product goes into
// its rows' softmax denominators while it is in registers (Milakov and Gimelshein 2018). Logits stay in float32.
#include "kernels/cuda_launch.h"

#ifdef DEMASK_CUDA_TILES
#include <algorithm>

#include "kernels/cuda_early.cuh"
#include "kernels/cuda_judged_product_kernel.cuh"
#include "kernels/cuda_tile_maps.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// Each row's parts in one: a thread a row.
__global__ void __launch_bounds__(small_threads)
    judge_parts_kernel(const float2* parts, const float* logits, int rows, float* out, bool* broken) {
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= rows) {
    return;
  }
  const float2* own = parts + static_cast<int64_t>(row) * judged_parts;
  Softmax softmax;
  for (int part = 0; part < judged_parts; ++part) {
    softmax.largest = fmaxf(softmax.largest, own[part].x);
  }
  for (int part = 0; part < judged_parts; ++part) {
    softmax.total += own[part].y * expf(own[part].x - softmax.largest);
  }
  softmax.nan = isnan(softmax.total) || softmax.total == 0.0F;  // no logit above -infinity
  out[row] = judged(logits[row], softmax, /*logarithm=*/true, broken);
}

template <typename T>
bool launch_judged(Precision precision, const JudgedProductArguments& a, cudaStream_t stream) {
  CUtensorMap x, weight;
  if (!describe_tiles(precision, a.x, a.rows, a.inner, judged_rows, x) ||
      !describe_tiles(precision, a.weight, a.outputs, a.inner, judged_columns / judging_blocks, weight)) {
    return false;
  }
  const JudgedTiles tiles{static_cast<int>(blocks_for(a.rows, judging_blocks * judged_rows)),
                          static_cast<int>(blocks_for(a.outputs, judged_columns)),
                          static_cast<int>(blocks_for(a.inner, tile_inner)), static_cast<int>(a.rows),
                          static_cast<int>(a.outputs)};
  const auto kernel = judged_product_kernel<T>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, JudgingRoom::bytes) != cudaSuccess) {
    return false;
  }
  const int clusters = std::min(multiprocessors() / judging_blocks, judged_parts * tiles.row_blocks);
  cudaLaunchAttribute cluster = cluster_attribute(judging_blocks);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(clusters * judging_blocks));
  config.blockDim = dim3(judging_threads);
  config.dynamicSmemBytes = JudgingRoom::bytes;
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  auto* parts = reinterpret_cast<float2*>(a.parts);
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, x, weight, tiles, a.tokens, parts, a.logits));
  judge_parts_kernel<<<blocks_for(a.rows, small_threads), small_threads, 0, stream>>>(parts, a.logits, tiles.rows,
                                                                                      a.out, a.broken);
  return true;
}

}  // namespace

bool takes_judged_product(int64_t inner) {
  return has_tile_products() && inner >= least_judging_steps * tile_inner;
}

int64_t judged_parts_of(int64_t rows) {
  return rows * judged_parts * static_cast<int64_t>(sizeof(float2) / sizeof(float));
}

bool judged_product(Precision precision, const JudgedProductArguments& a, cudaStream_t stream) {
  return precision == Precision::float16 ? launch_judged<__half>(precision, a, stream)
                                         : launch_judged<__nv_bfloat16>(precision, a, stream);
}

}  // namespace demask::kernels::cuda::launch

#else  // a compiler without these instructions

namespace demask::kernels::cuda::launch {

bool takes_judged_product(int64_t /*inner*/) {
  return false;
}
int64_t judged_parts_of(int64_t /*rows*/) {
  return 0;
}
bool judged_product(Precision /*precision*/, const JudgedProductArguments& /*a*/, cudaStream_t /*stream*/) {
  return false;
}

}  // namespace demask::kernels::cuda::launch

#endif
