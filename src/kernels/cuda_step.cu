// What a step of diffusion begins and ends with: elementwise work on tables and texts, a kernel each. LibTorch's
// operations for it are one to three kernels more, and the first use of each loads a module, 5 to 50 ms.
#include <algorithm>

#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_noise.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int step_threads = 256;

template <typename Value>
__device__ void copy_row(const StepTable<Value>& table, int64_t step, int64_t item) {
  if (item < table.plans * table.columns) {
    const int64_t plan = item / table.columns, column = item % table.columns;
    table.row[item] = table.all[(plan * table.steps + step) * table.columns + column];
  }
}

// The first row of blocks copies, too. Beside the kernel before it, it waits for that one at its own end: what comes
// next needs both.
template <bool beside>
__global__ void __launch_bounds__(noise_threads)
    begin_step_kernel(StepTable<int64_t> counts, StepTable<float> numbers, NoiseArguments noise) {
  if constexpr (!beside) {
    wait_for_kernels_before();
  }
  let_next_begin();
  if (blockIdx.y == 0) {
    const int64_t item = static_cast<int64_t>(blockIdx.x) * noise_threads + threadIdx.x, step = *noise.steps;
    copy_row(counts, step, item);
    copy_row(numbers, step, item);
  }
  write_noise(noise);
  if constexpr (beside) {
    wait_for_kernels_before();
  }
}

__global__ void __launch_bounds__(step_threads) end_step_kernel(EndStepArguments a) {
  wait_for_kernels_before();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  if (item == 0) {
    ++*a.step;
  }
  if (item < a.positions) {
    const bool masked = a.next_masked != nullptr && a.next_masked[item];
    a.tokens[item] = masked ? a.mask : a.drawn[item];
    a.masked[item] = masked;
  }
}

// Each operation rounded by itself, as tensor operations round.
__global__ void __launch_bounds__(step_threads) blend_doubt_kernel(const float* probability, const float* noise,
                                                                   float own, float chance, float* out, int64_t count) {
  wait_for_kernels_before();
  let_next_begin();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  if (item < count) {
    const float doubt = __fsub_rn(1.0F, probability[item]);
    out[item] = __fadd_rn(__fmul_rn(doubt, own), __fmul_rn(noise[item], chance));
  }
}

}  // namespace

void begin_step(const StepTable<int64_t>& counts, const StepTable<float>& numbers, const NoiseArguments& noise,
                bool beside, cudaStream_t stream) {
  const int64_t items = counts.plans * std::max(counts.columns, numbers.columns);
  dim3 blocks = noise_blocks(noise);
  blocks.x = std::max(blocks.x, static_cast<unsigned>(blocks_for(items, noise_threads)));
  launch_early(beside ? begin_step_kernel<true> : begin_step_kernel<false>, blocks, noise_threads, 0, stream, counts,
               numbers, noise);
}

void end_step(const EndStepArguments& arguments, cudaStream_t stream) {
  launch_early(end_step_kernel, dim3(blocks_for(arguments.positions, step_threads)), step_threads, 0, stream,
               arguments);
}

void blend_doubt(const float* probability, const float* noise, float own, float chance, float* out, int64_t count,
                 cudaStream_t stream) {
  launch_early(blend_doubt_kernel, dim3(blocks_for(count, step_threads)), step_threads, 0, stream, probability, noise,
               own, chance, out, count);
}

}  // namespace demask::kernels::cuda::launch
