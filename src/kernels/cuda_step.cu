// What a step of diffusion does before its first forward and after its last: single kernels for what would be a handful
// of copies and sums, each of which takes longer to begin than to run.
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_noise.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int step_threads = 256;

// Item i of a step's row of a table [rows, steps, columns].
template <typename Number>
__device__ void copy_item(const StepTable<Number>& table, int64_t step, int64_t item) {
  const int64_t row = item / table.columns, column = item % table.columns;
  table.of_step[item] = table.all[(row * table.steps + step) * table.columns + column];
}

// A thread each block of Philox and each item of the tables.
__global__ void __launch_bounds__(step_threads) begin_step_kernel(BeginStepArguments a) {
  const int64_t step = *a.step, blocks = (a.positions + 3) / 4, each = a.batch * blocks;
  int64_t item = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  if (item < a.purposes * each) {
    const int64_t purpose = item / each, b = item % each / blocks;
    write_uniforms(static_cast<uint64_t>(a.seeds[b]), a.sample_indices[b], step, item % blocks, a.purpose[purpose],
                   a.uniforms[purpose] + b * a.positions, a.positions);
    return;
  }
  item -= a.purposes * each;
  if (item < a.counts.items()) {
    copy_item(a.counts, step, item);
    return;
  }
  item -= a.counts.items();
  if (item < a.numbers.items()) {
    copy_item(a.numbers, step, item);
  }
}

__global__ void __launch_bounds__(step_threads) end_step_kernel(EndStepArguments a) {
  wait_for_kernels_before();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  if (item < a.items) {
    const bool masks = a.next_masked[item];
    a.masked[item] = masks;
    a.tokens[item] = masks ? a.mask_token : a.filled[item];
  }
  if (item == 0) {
    ++*a.step;
  }
}

// In the order of the tensor operations, without a fused multiplication, so that both round alike.
__global__ void __launch_bounds__(step_threads)
    blend_kernel(const float* first, bool complements, float first_share, const float* second, float second_share,
                 float* out, int64_t items) {
  wait_for_kernels_before();
  let_next_begin();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  if (item < items) {
    const float x = complements ? __fsub_rn(1.0F, first[item]) : first[item];
    out[item] = __fadd_rn(__fmul_rn(x, first_share), __fmul_rn(second[item], second_share));
  }
}

}  // namespace

void begin_step(const BeginStepArguments& a, cudaStream_t stream) {
  const int64_t items = a.purposes * a.batch * ((a.positions + 3) / 4) + a.counts.items() + a.numbers.items();
  begin_step_kernel<<<blocks_for(items, step_threads), step_threads, 0, stream>>>(a);
}

void end_step(const EndStepArguments& a, cudaStream_t stream) {
  launch_early(end_step_kernel, dim3(blocks_for(a.items, step_threads)), step_threads, 0, stream, a);
}

void blend(const float* first, bool complements, double second_share, const float* second, float* out, int64_t items,
           cudaStream_t stream) {
  launch_early(blend_kernel, dim3(blocks_for(items, step_threads)), step_threads, 0, stream, first, complements,
               static_cast<float>(1 - second_share), second, static_cast<float>(second_share), out, items);
}

}  // namespace demask::kernels::cuda::launch
