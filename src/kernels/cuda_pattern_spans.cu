// One block finds the path of a text of few states, by spans of positions.
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_pattern_late.cuh"
#include "kernels/cuda_pattern_span_messages.cuh"
#include "kernels/cuda_pattern_spans.h"

namespace demask::kernels::cuda::launch {
namespace {

__device__ void copy_in(int at, const int32_t* from, int count) {
  DEMASK_ROLLED for (int i = static_cast<int>(threadIdx.x); i < count; i += span_threads) {
    shared_at<int32_t>(at)[i] = from[i];
  }
}

// What does not change within a step, while the kernels before still work: none of them writes it. The table with its
// edges where they now are.
__device__ PatternTable stage_table(const PatternArguments& a, const SpanRoom& room, PatternTable table) {
  constexpr int word = sizeof(int32_t);
  copy_in(room.of_state, table.ways.of_state, 2 * table.states * table.ways.most);
  copy_in(room.classes, reinterpret_cast<const int32_t*>(table.ways.classes),
          table.ways.products * PatternWays::longest_span / word);
  copy_in(room.first_edge, table.first_edge, table.states + 1);
  copy_in(room.edges, table.edges, 2 * table.first_edge[table.states]);
  copy_in(room.fixed, a.fixed + blockIdx.x * a.length, static_cast<int>(a.length));
  const Ready ready{shared_at<uint64_t>(room.ready)};
  DEMASK_ROLLED for (int i = static_cast<int>(threadIdx.x); i <= a.spans_room; i += span_threads) {
    ready.begin(i);
  }
  if (threadIdx.x < span_width) {
    const auto state = static_cast<int>(threadIdx.x);
    shared_at<double>(room.between)[state] = state < table.states && table.accepts[state] != 0 ? 1.0 : 0.0;
  }
  table.first_edge = shared_at<int32_t>(room.first_edge);
  table.edges = shared_at<int32_t>(room.edges);
  return table;
}

// A bit for each span that its ways cross.
__device__ void find_plain(const SpanDraw& draw) {
  DEMASK_ROLLED for (int i = static_cast<int>(threadIdx.x);
                     i < (draw.spans.count() + warp_size - 1) / warp_size * warp_size; i += span_threads) {
    const bool plain = i < draw.spans.count() && is_plain_span(draw.table, draw.spans, i, draw.fixed());
    const unsigned bits = __ballot_sync(all_lanes, plain);
    if (i % warp_size == 0) {
      draw.plain()[i / warp_size] = bits;
    }
  }
}

// Whether all weights are in range.
__device__ bool stage_text(const SpanDraw& draw) {
  const PatternArguments& a = draw.a;
  const int64_t first = draw.first_row();
  const auto* from = reinterpret_cast<const double2*>(a.weights + first * a.weights_room);  // of even many
  auto* to = shared_at<double2>(draw.room.weights);
  const int count = static_cast<int>(a.length) * a.weights_room / 2;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < count; i += span_threads) {
    to[i] = from[i];
  }
  bool holds = true;
  DEMASK_ROLLED for (int t = static_cast<int>(threadIdx.x); t < a.length; t += span_threads) {
    draw.uniforms()[t] = static_cast<double>(a.uniforms[first + t]);
    holds = static_cast<bool>(holds & a.holds[first + t]);
  }
  return holds;
}

// Whether scaled messages hold, which the block's threads saw each in part.
__device__ bool settle(const SpanDraw& draw, bool holds) {
  holds = __syncthreads_and(static_cast<int>(holds)) != 0 &&
          is_in_range(*draw.between(draw.spans.count()), least_span_message);
  if (threadIdx.x == 0) {
    draw.a.source[blockIdx.x] = PatternSource::filtered;
    draw.a.numbers[blockIdx.x] = holds ? PatternNumbers::scaled : PatternNumbers::undecided;
  }
  return holds;
}

// A logit of a type that is known when the kernel runs.
struct AnyReader {
  const PatternArguments& a;
  Precision precision;
  __device__ float operator()(int64_t row, int64_t id) const {
    const int64_t at = row * a.row_stride + id;
    switch (precision) {
      case Precision::float32:
        return static_cast<const float*>(a.logits)[at];
      case Precision::float16:
        return to_float(static_cast<const __half*>(a.logits)[at]);
      default:
        return to_float(static_cast<const __nv_bfloat16*>(a.logits)[at]);
    }
  }
};

// Apart, so that what is seldom needed takes no registers.
__device__ __noinline__ void find_path_late(const PatternArguments& a, Precision precision, BlockRoom& room) {
  Block block{room};
  const PatternTable table = pattern_table(a.tables + a.table_at[blockIdx.x], a.outputs);
  find_path_late(a, table, blockIdx.x, AnyReader{a, precision}, block);
}

__global__ void __launch_bounds__(span_threads, 1)
    spans_kernel(__grid_constant__ const PatternArguments a, __grid_constant__ const SpanRoom room,
                 Precision precision) {
  let_next_begin();
  __shared__ BlockRoom shared;
  const int64_t at = a.table_at[blockIdx.x];
  if (at < 0) {
    wait_for_kernels_before();
    return;
  }
  const PatternTable table = stage_table(a, room, pattern_table(a.tables + at, a.outputs));
  const SpanDraw draw{a, room, table, PatternSpans(table.ways.span, a.length)};
  __syncthreads();
  find_plain(draw);
  wait_for_kernels_before();
  bool holds = stage_text(draw);
  __syncthreads();
  Block block{shared};
  holds = make_products(table.ways, draw.spans, draw.weights(0), a.weights_room, shared_at<uint8_t>(room.classes),
                        draw.products(), block) &&
          holds;
  __syncthreads();
  if (threadIdx.x < passers) {
    pass_messages(draw);
  } else {
    holds = follow_messages(draw) && holds;
  }
  if (settle(draw, holds)) {
    draw.walk().go(table.states, block, [&](int t, uint8_t state) { a.path[draw.first_row() + t] = state; });
  } else {
    find_path_late(a, precision, shared);
  }
}

}  // namespace

bool goes_by_spans(const PatternArguments& a, int most_bytes) {
  return a.states_room <= span_width && a.spans_room > 0 && SpanRoom(a).bytes <= most_bytes;
}

void launch_spans(Precision precision, const PatternArguments& a, cudaStream_t stream) {
  const SpanRoom room(a);
  cudaFuncSetAttribute(spans_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, room.bytes);
  launch_early(spans_kernel, dim3(static_cast<unsigned>(a.batch)), span_threads, static_cast<size_t>(room.bytes),
               stream, a, room, precision);
}

}  // namespace demask::kernels::cuda::launch
