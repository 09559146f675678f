// Drawing tokens, and the uniform numbers that decide it.
#include "kernels/cuda_draw.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_noise.cuh"

namespace demask::kernels::cuda::launch {
namespace {

__global__ void __launch_bounds__(noise_threads) uniform_kernel(NoiseArguments arguments) {
  wait_for_kernels_before();
  let_next_begin();
  write_noise(arguments);
}

}  // namespace

void draw(Precision precision, const DrawArguments& arguments, cudaStream_t stream) {
  if (arguments.logits.outputs <= max_small_draw) {
    draw_small(precision, arguments, stream);
  } else {
    draw_wide(precision, arguments, stream);
  }
}

void uniform(const NoiseArguments& arguments, cudaStream_t stream) {
  launch_early(uniform_kernel, noise_blocks(arguments), noise_threads, 0, stream, arguments);
}

}  // namespace demask::kernels::cuda::launch
