// The draw of a text whose range scaled messages do not hold, or to which filters leave no completion: by one block,
// and seldom.
#pragma once

#include "kernels/cuda_pattern_team.cuh"
#include "kernels/pattern_draw.h"

namespace demask::kernels::cuda::launch {

inline __host__ __device__ bool is_greedy(const PatternArguments& a) {
  return a.temperatures == nullptr && a.temperature == 0;
}

// All of one text's weights and messages; whether a completion is possible.
template <PatternNumbers numbers, typename Read>
__device__ bool decide_by(const PatternArguments& a, const PatternTable& table, int64_t b, const Read& read,
                          PatternSource source, Block& block) {
  Warp warp;
  for (int64_t t = block.warp_rank(); t < a.length; t += block.warps()) {
    weigh_position<numbers>(a, table, read, b * a.length + t, source, warp);
  }
  block.sync();
  DirectRows rows{a.weights + b * a.length * a.weights_room, a.fixed + b * a.length, a.weights_room};
  send_messages<numbers>(a, table, b, rows, nullptr, block);
  const bool possible = a.messages[b * (a.length + 1) * a.states_room] > -HUGE_VAL;
  if (possible && block.rank() == 0) {
    a.numbers[b] = numbers;
    a.source[b] = source;
  }
  block.sync();
  return possible;
}

template <typename Read>
__device__ void decide(const PatternArguments& a, const PatternTable& table, int64_t b, const Read& read,
                       Block& block) {
  if (is_greedy(a)) {
    decide_by<PatternNumbers::likeliest>(a, table, b, read, PatternSource::unfiltered, block);
  } else if (!decide_by<PatternNumbers::logarithms>(a, table, b, read, PatternSource::filtered, block)) {
    decide_by<PatternNumbers::logarithms>(a, table, b, read, PatternSource::unfiltered, block);
  }
}

// Where a position leads to from a state.
template <typename Read>
__device__ void choose(const PatternArguments& a, const PatternTable& table, int64_t row, int32_t state,
                       const Read& read) {
  const PatternChoice choice = choose_next(a, table, read, row / a.length, row % a.length, state);
  a.next[row * a.states_room + state] = choice.next < 0 ? 0 : choice.next;
}

// Decides, chooses and walks.
template <typename Read>
__device__ void find_path_late(const PatternArguments& a, const PatternTable& table, int64_t b, const Read& read,
                               Block& block) {
  decide(a, table, b, read, block);
  for (int64_t i = block.rank(); i < a.length * table.states; i += block.size()) {
    choose(a, table, b * a.length + i / table.states, static_cast<int32_t>(i % table.states), read);
  }
  block.sync();
  walk(a, table, b, nullptr, block);
}

}  // namespace demask::kernels::cuda::launch
