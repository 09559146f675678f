// Scaled messages of few states that go along a text by spans of positions: the weights of the ways through a span are
// made for all spans at once, so that the chain of messages is as long as the text has spans; then the messages within
// spans, and where their positions lead to, follow from those between spans. For the teams of pattern_draw.h.
#pragma once

#include <cstddef>

#include "kernels/pattern_messages.h"
#include "kernels/pattern_rule.h"

namespace demask::kernels {

// Of a loop that is not unrolled, so that what runs once is soon read.
#ifdef __CUDACC__
#define DEMASK_ROLLED _Pragma("unroll 1")
#else
#define DEMASK_ROLLED
#endif

// Least products of a way's weights and least messages between spans: no product of two of them, nor of what a span's
// positions add, is below the smallest normal double.
inline constexpr double least_way_weight = 1e-130, least_span_message = 1e-140;

// Whether a number that is not negative is at least `least`, and finite. By its upper half, which is sooner known.
DEMASK_EVERYWHERE inline bool is_in_range(double x, double least) {
  return upper_half(x) - upper_half(least) < upper_half(HUGE_VAL) - upper_half(least);
}

// A text in spans, from its end on; the last of them, at its beginning, can be shorter.
struct PatternSpans {
  int length = 0, span = 0;

  DEMASK_EVERYWHERE PatternSpans(int32_t positions, int64_t of_text)
      : length(static_cast<int>(of_text)), span(positions > 0 ? positions : PatternWays::longest_span) {}
  DEMASK_EVERYWHERE int count() const { return (length + span - 1) / span; }
  DEMASK_EVERYWHERE int whole() const { return length / span; }
  DEMASK_EVERYWHERE int end(int number) const { return length - number * span; }
  DEMASK_EVERYWHERE int first(int number) const { return end(number) > span ? end(number) - span : 0; }
};

// Whether a span can be crossed by its ways: it is whole, and each of its positions is free, or given where no text can
// have ended. fixed: of the text.
DEMASK_EVERYWHERE inline bool is_plain_span(const PatternTable& table, const PatternSpans& spans, int number,
                                            const int32_t* fixed) {
  bool plain = table.ways.span > 0 && spans.end(number) >= spans.span;
  DEMASK_ROLLED for (int t = spans.first(number); t < spans.end(number); ++t) {
    plain = plain && (fixed[t] == free_position || (fixed[t] != unshown_position && table.ended < 0));
  }
  return plain;
}

// Makes the products of all whole spans of a text, [spans, products + 1], the last of each span 0; whether they keep to
// their range. weights: of the text, [length, weights_room]. classes: as PatternWays has them.
template <typename Team>
DEMASK_EVERYWHERE bool make_products(const PatternWays& ways, const PatternSpans& spans, const double* weights,
                                     int weights_room, const uint8_t* classes, double* products, Team& team) {
  constexpr int longest = PatternWays::longest_span;
  const int each = ways.products + 1;
  bool holds = true;
  DEMASK_ROLLED for (int item = team.rank(); item < spans.whole() * each; item += team.size()) {
    const int number = item / each, product = item % each;
    const bool is_zero = product == ways.products;
    const double* row = weights + spans.first(number) * weights_room;
    const uint8_t* own = classes + (is_zero ? 0 : product * longest);
    double x[static_cast<size_t>(longest)];
    bool none = is_zero;
    for (int i = 0; i < longest; ++i) {
      x[i] = i < spans.span && !is_zero ? row[i * weights_room + own[i]] : 1.0;
      none = none | (upper_half(x[i]) == 0);
    }
    for (int apart = 1; apart < longest; apart *= 2) {
      for (int i = 0; i + apart < longest; i += 2 * apart) {
        x[i] *= x[i + apart];
      }
    }
    holds = holds && (none || is_in_range(x[0], least_way_weight));
    products[item] = none ? 0 : x[0];
  }
  return holds;
}

// The number so many bytes behind another.
DEMASK_EVERYWHERE inline double number_at(const double* first, int32_t bytes) {
  return *reinterpret_cast<const double*>(reinterpret_cast<const char*>(first) + bytes);
}

// A state's ways through a span, in registers; `most` at most. of_state: as PatternWays has it.
template <int most>
class KeptWays {
 public:
  static constexpr auto count = static_cast<size_t>(most);
  using Numbers = double[count];

  DEMASK_EVERYWHERE KeptWays(const PatternTable& table, const int32_t* of_state, int32_t state) {
    constexpr auto bytes = static_cast<int32_t>(sizeof(double));
    for (int w = 0; w < most; ++w) {
      const bool has = state < table.states && w < table.ways.most;
      const int32_t* own = of_state + 2 * (has ? state * table.ways.most + w : 0);
      const bool is_way = has && own[0] >= 0;
      product_[w] = bytes * (is_way ? own[0] : table.ways.products);  // which is 0
      next_[w] = bytes * (is_way ? own[1] : state);
    }
  }
  DEMASK_EVERYWHERE void read_weights(const double* products, Numbers& weights) const {
    for (int w = 0; w < most; ++w) {
      weights[w] = number_at(products, product_[w]);
    }
  }
  DEMASK_EVERYWHERE void read_messages(const double* after, Numbers& messages) const {
    for (int w = 0; w < most; ++w) {
      messages[w] = number_at(after, next_[w]);
    }
  }
  // The message before a span, by those after it. Of a few sums, which do not wait for each other.
  DEMASK_EVERYWHERE static double message(const Numbers& weights, const Numbers& after) {
    constexpr int at_once = 3;
    double sums[at_once] = {};
    for (int w = 0; w < most; ++w) {
      sums[w % at_once] = w < at_once ? weights[w] * after[w] : sums[w % at_once] + weights[w] * after[w];
    }
    return sums[0] + sums[1] + sums[2];
  }

 private:
  int32_t product_[count], next_[count];  // in bytes
};

// The edges of a state where no state of the table has more than `most`, in registers.
template <int most>
struct AllEdges {
  static constexpr auto count = static_cast<size_t>(most);
  int32_t token_class[count], next[count];  // in bytes of a number

  DEMASK_EVERYWHERE AllEdges(const PatternTable& table, int32_t state) {
    constexpr auto bytes = static_cast<int32_t>(sizeof(double));
    const int32_t first = state < table.states ? table.first_edge[state] : 0;
    const int32_t last = state < table.states ? table.first_edge[state + 1] : 0;
    for (int e = 0; e < most; ++e) {
      const bool has = first + e < last;
      token_class[e] = bytes * (has ? table.edges[2 * (first + e)] : table.classes);  // which has no weight
      next[e] = bytes * (has ? table.edges[2 * (first + e) + 1] : 0);
    }
  }
};

// What one position makes of the messages after it, for one state.
struct PatternStep {
  double message = 0;
  int32_t next = 0;  // where the position leads to, if anywhere: choose_by_chance's choice
};

// Of a position that is free, or given where no text can have ended.
template <int most>
DEMASK_EVERYWHERE PatternStep plain_step(const AllEdges<most>& edges, const double* weights, const double* after,
                                         double uniform) {
  double mass[AllEdges<most>::count];
  PatternStep step;
  for (int e = 0; e < most; ++e) {
    mass[e] = rounded_product(number_at(weights, edges.token_class[e]), number_at(after, edges.next[e]));
    step.message = e == 0 ? mass[e] : step.message + mass[e];
  }
  const double threshold = rounded_product(uniform, step.message);
  step.next = edges.next[0];
  double below = mass[0];
  for (int e = 1; e < most; ++e) {
    step.next = (mass[e] > 0) & (below <= threshold) ? edges.next[e] : step.next;
    below += e + 1 < most ? mass[e] : 0;
  }
  step.next /= static_cast<int32_t>(sizeof(double));
  return step;
}

// Of any position and any number of edges. fixed: what the position is.
DEMASK_EVERYWHERE inline PatternStep any_step(const PatternTable& table, int32_t state, const double* weights,
                                              const double* after, int32_t fixed, double uniform) {
  if (fixed == unshown_position) {
    return {after[state], state};
  }
  const int32_t first = table.first_edge[state], last = table.first_edge[state + 1];
  PatternStep step;
  DEMASK_ROLLED for (int32_t e = first; e < last; ++e) {
    step.message += rounded_product(weights[table.edges[2 * e]], after[table.edges[2 * e + 1]]);
  }
  const double threshold = rounded_product(uniform, step.message);
  double below = 0;
  DEMASK_ROLLED for (int32_t e = first; e < last; ++e) {
    const double mass = rounded_product(weights[table.edges[2 * e]], after[table.edges[2 * e + 1]]);
    step.next = (mass > 0) & (below <= threshold) ? table.edges[2 * e + 1] : step.next;
    below += mass;
  }
  step.message = fixed != free_position && state == table.ended ? 0 : step.message;
  return step;
}

// Where the states of a text lead to, in bytes that all threads share: from each position, from each span, and from so
// many spans together.
class SpanWalk {
 public:
  static constexpr int width = most_span_states, together = 8;

  DEMASK_EVERYWHERE SpanWalk(const PatternSpans& spans, uint8_t* room)
      : spans_(spans),
        groups_((spans.count() + together - 1) / together),
        steps_(room),
        jumps_(steps_ + spans.length * width),
        leaps_(jumps_ + spans.count() * width),
        starts_(leaps_ + groups_ * width) {}
  DEMASK_EVERYWHERE static int64_t bytes(int64_t length, int64_t spans) {
    const int64_t groups = (spans + together - 1) / together;
    return (length + spans + groups) * width + groups;
  }

  // Where a position leads to from each state, to be set.
  DEMASK_EVERYWHERE uint8_t* steps(int t) const { return steps_ + t * width; }
  // Once a span's positions are set.
  DEMASK_EVERYWHERE void compose(int number, int32_t state) const {
    auto at = static_cast<uint8_t>(state);
    DEMASK_ROLLED for (int t = spans_.first(number); t < spans_.end(number); ++t) {
      at = steps_[t * width + at];
    }
    jumps_[number * width + state] = at;
  }
  // Once all spans are composed: visit(t, state), the state before each position.
  template <typename Team, typename Visit>
  DEMASK_EVERYWHERE void go(int32_t states, Team& team, Visit visit) const {
    DEMASK_ROLLED for (int i = team.rank(); i < groups_ * width; i += team.size()) {
      if (i % width < states) {
        leaps_[i] = follow(last_of(i / width), i / width * together - 1, static_cast<uint8_t>(i % width));
      }
    }
    team.sync();
    uint8_t state = 0;
    DEMASK_ROLLED for (int group = groups_ - 1; group >= 0 && team.rank() == 0; --group) {
      starts_[group] = state;
      state = leaps_[group * width + state];
    }
    team.sync();
    DEMASK_ROLLED for (int number = team.rank(); number < spans_.count(); number += team.size()) {
      uint8_t at = follow(last_of(number / together), number, starts_[number / together]);
      DEMASK_ROLLED for (int t = spans_.first(number); t < spans_.end(number); ++t) {
        visit(t, at);
        at = steps_[t * width + at];
      }
    }
  }

 private:
  DEMASK_EVERYWHERE int last_of(int group) const {
    return (group + 1) * together < spans_.count() ? (group + 1) * together - 1 : spans_.count() - 1;
  }
  // Over spans from `from` down to the one above `to`.
  DEMASK_EVERYWHERE uint8_t follow(int from, int to, uint8_t state) const {
    DEMASK_ROLLED for (int number = from; number > to; --number) {
      state = jumps_[number * width + state];
    }
    return state;
  }

  PatternSpans spans_;
  int groups_;
  uint8_t *steps_, *jumps_, *leaps_, *starts_;
};

}  // namespace demask::kernels
