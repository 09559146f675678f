// All that follows the logits of a decoded token: what uniform, draw and judge do, and keeping count. For a few texts
// of a small vocabulary that is one block's work; for others those kernels', and one that puts their results in place.
#include "kernels/cuda_draw_next.cuh"
#include "kernels/cuda_draw_small.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_softmax.cuh"
#include "kernels/noise_words.h"

namespace demask::kernels::cuda::launch {
namespace {

static_assert(max_next_draw_outputs == max_small_draw && max_next_draw_outputs <= most_judged_by_warp);
constexpr int most_warps = 16;

template <typename T, int items>
__global__ void __launch_bounds__(most_warps* warp_size) draw_next_kernel(NextDrawArguments a) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warps = static_cast<int>(blockDim.x) / warp_size;
  let_next_begin();
  wait_for_kernels_before();  // also for the counts, which whatever is queued right before may set
  const int64_t position = *a.position + 1, step = *a.steps;
  for (int64_t row = threadIdx.x / warp_size; row < a.draw.logits.rows; row += warps) {
    const float uniform = philox::to_uniform(
        noise_words(static_cast<uint64_t>(a.seeds[row]), a.sample_indices[row], step, /*block=*/0, a.purpose)[0]);
    const DrawnToken drawn = draw_small_row<T, items>(a.draw, row, uniform, lane);
    const T* logits = row_of<T>(a.draw.logits, row);
    const Softmax softmax = softmax_of_row(logits, static_cast<int>(a.draw.logits.outputs), lane);
    if (lane == 0) {
      a.text[row * a.text_stride + position] = drawn.id;
      a.scores[position * a.draw.logits.rows + row] =
          judged(to_float(logits[drawn.id]), softmax, /*logarithm=*/true, a.draw.broken);
    }
  }
  __syncthreads();  // all have read them
  if (threadIdx.x == 0) {
    *a.position = position;
    *a.steps = step + 1;
  }
}

constexpr unsigned placing_threads = 256;

__global__ void __launch_bounds__(placing_threads) place_next_kernel(NextDrawArguments a) {
  const int64_t rows = a.draw.logits.rows, position = *a.position + 1;
  for (int64_t row = threadIdx.x; row < rows; row += placing_threads) {
    a.text[row * a.text_stride + position] = a.draw.tokens[row];
    a.scores[position * rows + row] = a.judged[row];
  }
  __syncthreads();  // all have read them
  if (threadIdx.x == 0) {
    *a.position = position;
    *a.steps += 1;
  }
}

void draw_next_by_steps(Precision precision, NextDrawArguments a, cudaStream_t stream) {
  NoiseArguments noise;
  noise.seeds = a.seeds;
  noise.sample_indices = a.sample_indices;
  noise.steps = a.steps;
  noise.purpose[0] = a.purpose;
  noise.out = a.uniforms;
  noise.batch = a.draw.logits.rows;
  noise.positions = 1;
  uniform(noise, stream);
  a.draw.uniforms = a.uniforms;
  draw(precision, a.draw, stream);
  JudgeArguments judging;
  judging.logits = a.draw.logits;
  judging.tokens = a.draw.tokens;
  judging.out = a.judged;
  judging.logarithm = true;
  judging.broken = a.draw.broken;
  judge(precision, judging, stream);
  place_next_kernel<<<1, placing_threads, 0, stream>>>(a);
}

}  // namespace

void draw_next(Precision precision, const NextDrawArguments& a, cudaStream_t stream) {
  if (!draws_next_by_one_kernel(a.draw.logits)) {
    if (!draw_next_wide(precision, a, stream)) {
      draw_next_by_steps(precision, a, stream);
    }
    return;
  }
  const auto warps = static_cast<unsigned>(a.draw.logits.rows < most_warps ? a.draw.logits.rows : most_warps);
  with_type(precision, [&](auto type) {
    with_items(a.draw.logits.outputs, [&](auto items) {
      launch_early(draw_next_kernel<decltype(type), decltype(items)::value>, dim3(1), warps * warp_size, 0, stream, a);
    });
  });
}

}  // namespace demask::kernels::cuda::launch
