// Drawing tokens, and the uniform numbers that decide it.
#include "core/philox.h"
#include "kernels/cuda_draw.cuh"
#include "kernels/noise_words.h"

namespace demask::kernels::cuda::launch {
namespace {

// One thread a block of Philox, four positions.
__global__ void uniform_kernel(const int64_t* seeds, const int64_t* sample_indices, const int64_t* steps,
                               int64_t step_stride, uint32_t purpose, float* out, int64_t batch, int64_t positions) {
  const int64_t blocks = (positions + 3) / 4;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= batch * blocks) {
    return;
  }
  const int64_t b = thread / blocks, block = thread % blocks;
  const philox::Counter words =
      noise_words(static_cast<uint64_t>(seeds[b]), sample_indices[b], steps[b * step_stride], block, purpose);
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    if (block * 4 + w < positions) {
      out[b * positions + block * 4 + w] = philox::to_uniform(words[w]);
    }
  }
}

}  // namespace

void draw(Precision precision, const DrawArguments& arguments, cudaStream_t stream) {
  if (arguments.logits.outputs <= max_small_draw) {
    draw_small(precision, arguments, stream);
  } else {
    draw_wide(precision, arguments, stream);
  }
}

void uniform(const int64_t* seeds, const int64_t* sample_indices, const int64_t* steps, int64_t step_stride,
             uint32_t purpose, float* out, int64_t batch, int64_t positions, cudaStream_t stream) {
  uniform_kernel<<<blocks_for(batch * ((positions + 3) / 4), 256), 256, 0, stream>>>(
      seeds, sample_indices, steps, step_stride, purpose, out, batch, positions);
}

}  // namespace demask::kernels::cuda::launch
