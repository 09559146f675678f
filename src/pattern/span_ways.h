// The ways of an automaton through several positions next to each other, and the classes that they pass, so that
// messages can go along a text by spans of positions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace demask {

struct SpanWays {
  struct Way {
    int32_t product = 0;  // of weights
    int32_t next = 0;
  };

  int32_t span = 0;                            // positions, a power of two; 0: the automaton has too many ways
  std::vector<std::vector<Way>> of_state;      // in the order of classes
  std::vector<std::vector<int32_t>> products;  // of each the class at every position of a span
};

struct SpanLimits {
  size_t ways = 0;      // of a state
  size_t products = 0;  // a position of a span
  size_t longest = 8;   // a span, a power of two
  static constexpr size_t shortest = 4;
};

// edges: of each state, class and next state. The longest span within the limits, if there is one.
SpanWays ways_through_spans(const std::vector<std::vector<std::pair<int32_t, int32_t>>>& edges,
                            const SpanLimits& limits);

}  // namespace demask
