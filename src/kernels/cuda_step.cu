// What a step of diffusion begins and ends with: elementwise work on tables and texts, a kernel each. LibTorch's
// operations for it are one to three kernels more, and the first use of each loads a module, 5 to 50 ms.
#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"

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

__global__ void __launch_bounds__(step_threads)
    rows_of_step_kernel(StepTable<int64_t> counts, StepTable<float> numbers, const int64_t* step) {
  wait_for_kernels_before();
  let_next_begin();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  copy_row(counts, *step, item);
  copy_row(numbers, *step, item);
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

void rows_of_step(const StepTable<int64_t>& counts, const StepTable<float>& numbers, const int64_t* step,
                  cudaStream_t stream) {
  const int64_t items = counts.plans * (counts.columns > numbers.columns ? counts.columns : numbers.columns);
  launch_early(rows_of_step_kernel, dim3(blocks_for(items, step_threads)), step_threads, 0, stream, counts, numbers,
               step);
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
