// Drawing tokens, and the uniform numbers that decide it.
#include "core/philox.h"
#include "kernels/cuda_draw.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/noise_words.h"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int uniform_threads = 256;

// One thread a block of Philox, four positions; for each purpose the grid has a row of blocks.
__global__ void __launch_bounds__(uniform_threads)
    uniform_kernel(const int64_t* seeds, const int64_t* sample_indices, const int64_t* steps, int64_t step_stride,
                   Purposes purposes, float* out, int64_t batch, int64_t positions) {
  wait_for_kernels_before();
  let_next_begin();
  const uint32_t purpose = blockIdx.y == 0 ? purposes.first : purposes.second;
  out += blockIdx.y * batch * positions;
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
             const Purposes& purposes, float* out, int64_t batch, int64_t positions, cudaStream_t stream) {
  const dim3 blocks(blocks_for(batch * ((positions + 3) / 4), uniform_threads), static_cast<unsigned>(purposes.count));
  launch_early(uniform_kernel, blocks, uniform_threads, 0, stream, seeds, sample_indices, steps, step_stride, purposes,
               out, batch, positions);
}

}  // namespace demask::kernels::cuda::launch
