// Drawing from vocabularies of a few hundred tokens.
#include "kernels/cuda_draw_small.cuh"

namespace demask::kernels::cuda::launch {
namespace {

template <typename T, int items>
__global__ void __launch_bounds__(small_threads) draw_small_kernel(DrawArguments a) {
  const int lane = threadIdx.x % warp_size;
  const int64_t row = row_of_warp(small_rows);
  if (row >= a.logits.rows) {
    return;
  }
  if (!wanted(a, row)) {
    if (lane == 0) {
      keep_given(a, row);
    }
    return;
  }
  const DrawnToken drawn = draw_small_row<T, items>(a, row, a.uniforms[row], lane);
  if (lane == 0) {
    a.tokens[row] = drawn.id;
    a.probabilities[row] = drawn.probability;
  }
}

template <typename T>
void launch_draw(const DrawArguments& a, cudaStream_t stream) {
  with_items(a.logits.outputs, [&](auto items) {
    draw_small_kernel<T, decltype(items)::value>
        <<<blocks_for(a.logits.rows, small_rows), small_threads, 0, stream>>>(a);
  });
}

}  // namespace

void draw_small(Precision precision, const DrawArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_draw<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch
