// How a block passes the messages of few states on: one warp computes them, and the others bring weights into shared
// memory a stretch of positions ahead of it and take messages away behind it.
#pragma once

#include "kernels/cuda_pattern_team.cuh"
#include "kernels/pattern_messages.h"

namespace demask::kernels::cuda::launch {

inline constexpr int few_messages_threads = 4 * warp_size;  // the first warp computes
inline constexpr int few_states = 2 * warp_size, few_classes = 128;

inline bool has_few_messages(const PatternArguments& a) {
  return a.states_room <= few_states && a.weights_room <= few_classes;
}

// What the warps share: two stretches in turns, which are handed over by barriers.
struct CarriedMessages {
  static constexpr int stretch = warp_size, turns = 2;
  static constexpr int carriers = few_messages_threads - warp_size;

  const PatternArguments& a;
  const PatternTable& table;
  int64_t b;
  int width;  // of a position's messages
  double* shared;

  __device__ CarriedMessages(const PatternArguments& arguments, const PatternTable& of, int64_t text, int width_of,
                             double* memory)
      : a(arguments), table(of), b(text), width(width_of), shared(memory) {}

  static int64_t bytes(const PatternArguments& a) {
    constexpr auto number = static_cast<int64_t>(sizeof(double)), place = static_cast<int64_t>(sizeof(int32_t));
    return (few_states + turns * ((stretch + 1) * few_states + stretch * a.weights_room)) * number +
           turns * (stretch + 1) * place;
  }

  __device__ int stretches() const { return static_cast<int>((a.length + stretch - 1) / stretch); }
  __device__ int64_t end_of(int number) const { return a.length - static_cast<int64_t>(number) * stretch; }
  __device__ int positions_of(int number) const { return static_cast<int>(min(end_of(number), int64_t{stretch})); }
  __device__ double* messages_of(int number) const {
    return shared + 2 * width + number % turns * (stretch + 1) * width;
  }
  __device__ double* weights_of(int number) const {
    return shared + width + turns * (stretch + 1) * width + number % turns * stretch * a.weights_room;
  }
  // What positions are, and behind them whether they are plain.
  __device__ int32_t* fixed_of(int number) const {
    return reinterpret_cast<int32_t*>(weights_of(0) + turns * stretch * a.weights_room) +
           number % turns * (stretch + 1);
  }

  __device__ static int brought(int number) { return 1 + number % turns; }
  __device__ static int computed(int number) { return 1 + turns + number % turns; }

  __device__ MessageStretch wait_for(int number) const {
    wait_for_threads(brought(number), few_messages_threads);
    const int last = positions_of(number) - 1;
    return {last + 1, weights_of(number) + last * a.weights_room, fixed_of(number) + last, messages_of(number),
            fixed_of(number)[stretch] != 0};
  }
  __device__ void hand_over(int number) const { arrive_at_threads(computed(number), few_messages_threads); }

  // The other warps' work; whether weights and messages keep to their range, as far as a thread sees.
  __device__ bool carry() const {
    bool holds = true;
    const int thread = static_cast<int>(threadIdx.x) - warp_size;
    for (int64_t t = thread; t < a.length; t += carriers) {
      holds = static_cast<bool>(holds & a.holds[b * a.length + t]);
    }
    double* out = a.messages + b * (a.length + 1) * a.states_room;
    for (int state = thread; state < table.states; state += carriers) {
      out[a.length * a.states_room + state] = table.accepts[state] != 0 ? 1.0 : 0.0;
    }
    for (int number = 0; number < min(turns, stretches()); ++number) {
      bring(number, thread);
    }
    for (int number = 0; number < stretches(); ++number) {
      wait_for_threads(computed(number), few_messages_threads);
      holds = take_away(number, thread, out) && holds;
      if (number + turns < stretches()) {
        bring(number + turns, thread);
      }
    }
    return holds;
  }

 private:
  __device__ void bring(int number, int thread) const {
    const int positions = positions_of(number);
    const int64_t first = b * a.length + end_of(number) - positions;
    const double* from = a.weights + first * a.weights_room;
    double* to = weights_of(number);
    for (int i = thread; i < positions * a.weights_room; i += carriers) {
      to[i] = from[i];
    }
    if (thread < warp_size) {
      const int32_t fixed = thread < positions ? a.fixed[first + thread] : free_position;
      const bool plain = fixed == free_position || (fixed != unshown_position && table.ended < 0);
      const int all_plain = __all_sync(all_lanes, static_cast<int>(plain));
      fixed_of(number)[thread] = fixed;
      fixed_of(number)[stretch] = all_plain;
    }
    arrive_at_threads(brought(number), few_messages_threads);
  }

  __device__ bool take_away(int number, int thread, double* out) const {
    const int positions = positions_of(number);
    const double* from = messages_of(number);
    bool holds = true;
#pragma unroll 4
    for (int i = thread; i < positions * width; i += carriers) {
      const int at = i / width, state = i % width;
      const double message = from[i];
      holds = static_cast<bool>(holds & in_message_range(message));
      if (state < a.states_room) {
        out[(end_of(number) - 1 - at) * a.states_room + state] = message;
      }
    }
    return holds;
  }
};

// The first warp's work.
template <int each, int most_edges>
__device__ void pass_messages(const CarriedMessages& carried) {
  Warp warp;
  FewMessages<each, most_edges> few(carried.table, carried.a.weights_room, warp.rank(), warp.size());
  few.begin(carried.shared, warp);
  for (int number = 0; number < carried.stretches(); ++number) {
    few.pass(carried.wait_for(number), warp);
    carried.hand_over(number);
  }
}

template <int each>
__device__ void pass_few(const CarriedMessages& carried) {
  const PatternTable& table = carried.table;
  int32_t most_edges = 0;
  for (auto state = static_cast<int32_t>(threadIdx.x); state < table.states; state += warp_size) {
    most_edges = max(most_edges, table.first_edge[state + 1] - table.first_edge[state]);
  }
  most_edges = static_cast<int32_t>(warp_max_of(static_cast<uint32_t>(most_edges)));
  if (most_edges <= 2) {
    pass_messages<each, 2>(carried);
  } else if (most_edges <= 4) {
    pass_messages<each, 4>(carried);
  } else {
    pass_messages<each, 0>(carried);
  }
}

}  // namespace demask::kernels::cuda::launch
