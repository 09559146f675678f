// The messages of a joint draw, from a text's end to its start: what the rest of the text weighs after each state. See
// pattern_draw.h, whose teams of threads these are for.
#pragma once

#include <cstddef>

#include "kernels/pattern_rule.h"

namespace demask::kernels {

// A state's edges, the first few in registers.
struct KeptEdges {
  static constexpr int kept = 4;
  int32_t token_class[kept], next[kept];
  int32_t first = 0, last = 0;  // of those that are not

  DEMASK_EVERYWHERE KeptEdges(const PatternTable& table, int32_t state) {
    first = table.first_edge[state];
    last = table.first_edge[state + 1];
    for (int k = 0; k < kept; ++k) {
      const bool has = first < last;
      token_class[k] = has ? table.edges[2 * first] : table.classes;  // which has no weight
      next[k] = has ? table.edges[2 * first + 1] : state;
      first += has ? 1 : 0;
    }
  }
  template <typename F>
  DEMASK_EVERYWHERE void for_each(const PatternTable& table, F f) const {
    for (int k = 0; k < kept; ++k) {
      f(token_class[k], next[k]);
    }
    for_each_edge(table, first, last, f);
  }
};

// Fills the text's messages from its end to its start; whether scaled ones keep to their range. rows.at(t): the weights
// of position t, asked for from the last position on; rows.fixed(t): what the position is. buffers [2, S] that all
// threads share, or none.
template <PatternNumbers numbers, typename Rows, typename Team>
DEMASK_EVERYWHERE bool send_messages(const PatternArguments& a, const PatternTable& table, int64_t b, Rows& rows,
                                     double* buffers, Team& team) {
  const auto rank = team.rank(), size = team.size();
  double* messages = a.messages + b * (a.length + 1) * a.states_room;
  const auto buffer_of = [&](int64_t t) { return buffers + (t & 1) * a.states_room; };
  const bool one_each = table.states <= size;
  const KeptEdges own(table, rank < table.states ? rank : 0);
  bool holds = true;
  for (int32_t state = rank; state < table.states; state += size) {
    const double message = table.accepts[state] != 0 ? pattern_one<numbers>() : pattern_none<numbers>();
    messages[a.length * a.states_room + state] = message;
    if (buffers != nullptr) {
      buffer_of(a.length)[state] = message;
    }
  }
  team.sync();
  double largest = 1;  // of the messages that this thread sent last
  for (int64_t t = a.length - 1; t >= 0; --t) {
    const double* weights = rows.at(t, team);
    const double* after = buffers != nullptr ? buffer_of(t + 1) : messages + (t + 1) * a.states_room;
    double* now = messages + t * a.states_room;
    const int32_t fixed = rows.fixed(t);
    // What is known of the largest message is a position old. So every second position is scaled, by what the one
    // before the last came to: were each, the scales would swing.
    const bool scales = numbers == PatternNumbers::scaled && (a.length - 1 - t) % 2 != 0;
    const double scale = scales ? inverse_power(team.offered()) : 1;
    if (numbers == PatternNumbers::scaled && !scales) {
      team.offer(upper_half(largest));
    }
    largest = 0;
    for (int32_t state = rank; state < table.states; state += size) {
      double message = 0;
      if (fixed == unshown_position) {
        message = after[state];
      } else if (fixed != free_position && state == table.ended) {
        message = pattern_none<numbers>();
      } else if (one_each) {
        message = message_over<numbers>(weights, after, [&](auto f) { own.for_each(table, f); });
      } else {
        const int32_t first = table.first_edge[state], last = table.first_edge[state + 1];
        message = message_over<numbers>(weights, after, [&](auto f) { for_each_edge(table, first, last, f); });
      }
      if constexpr (numbers == PatternNumbers::scaled) {
        message *= scale;
        holds = holds && in_message_range(message);
        largest = fmax(largest, message);
      }
      now[state] = message;
      if (buffers != nullptr) {
        buffer_of(t)[state] = message;
      }
    }
    team.sync();
  }
  return team.all(holds);
}

// Positions next to each other, from a text's end on.
struct MessageStretch {
  int positions = 0;
  const double* weights = nullptr;  // of the last one; those of the one before it stand weights_room before them
  const int32_t* fixed = nullptr;   // what the last one is, and before it the one before
  double* messages = nullptr;       // to be filled, the last one's first; before them is room for those that came last
  bool plain = false;               // each position is free, or given where no text can have ended
};

// The same of scaled messages, of which a thread has `each`. All edges of a state are `most_edges` at most, or any
// number where that is 0. Position waits for position, so that what counts is how soon one is done: the caller brings
// weights, and takes messages away and looks whether they keep to their range.
template <int each, int most_edges>
class FewMessages {
 public:
  // Messages of a position are `width` apart, each * size of the team.
  DEMASK_EVERYWHERE FewMessages(const PatternTable& table, int32_t weights_room, int rank, int size)
      : table_(table), weights_room_(weights_room), rank_(rank), size_(size) {
    for (int k = 0; k < each; ++k) {
      const int32_t state = state_of(k), first = exists(k) ? table.first_edge[state] : 0,
                    last = exists(k) ? table.first_edge[state + 1] : 0;
      for (int e = 0; e < most_edges; ++e) {
        const bool has = first + e < last;
        token_class_[k][e] = has ? table.edges[2 * (first + e)] : table.classes;  // which has no weight
        next_[k][e] = has ? table.edges[2 * (first + e) + 1] : state;
      }
    }
  }

  // The messages after the last position, which the first stretch follows.
  template <typename Team>
  DEMASK_EVERYWHERE void begin(double* messages, Team& team) {
    for (int k = 0; k < each; ++k) {
      messages[state_of(k)] = exists(k) && table_.accepts[state_of(k)] != 0 ? 1.0 : 0.0;
    }
    team.sync();
    last_ = messages;
  }

  template <typename Team>
  DEMASK_EVERYWHERE void pass(const MessageStretch& stretch, Team& team) {
    double* before = stretch.messages - width();
    for (int k = 0; k < each; ++k) {
      before[state_of(k)] = last_[state_of(k)];
    }
    team.sync();
    if (stretch.plain) {
      pass_on<true>(stretch, team);
    } else {
      pass_on<false>(stretch, team);
    }
    last_ = before + stretch.positions * width();
  }

 private:
  // Of so many positions the last is scaled, by the largest message of the second: what that is takes time to find.
  static constexpr int group = 4;
  static constexpr auto count = static_cast<size_t>(each), kept = static_cast<size_t>(most_edges == 0 ? 1 : most_edges);
  using Weights = double[count][kept];

  DEMASK_EVERYWHERE int32_t width() const { return each * size_; }
  DEMASK_EVERYWHERE int32_t state_of(int k) const { return rank_ + k * size_; }
  DEMASK_EVERYWHERE bool exists(int k) const { return state_of(k) < table_.states; }

  DEMASK_EVERYWHERE void read_weights(const double* row, Weights& weights) const {
    for (int k = 0; k < each; ++k) {
      for (int e = 0; e < most_edges; ++e) {
        weights[k][e] = row[token_class_[k][e]];
      }
    }
  }

  DEMASK_EVERYWHERE double sum_of(int k, const double* row, const Weights& weights, const double* after) const {
    double sum = 0;
    for (int e = 0; e < most_edges; ++e) {
      sum += weights[k][e] * after[next_[k][e]];
    }
    if (most_edges == 0 && exists(k)) {
      for_each_edge(table_, table_.first_edge[state_of(k)], table_.first_edge[state_of(k) + 1],
                    [&](int32_t token_class, int32_t next) { sum += row[token_class] * after[next]; });
    }
    return sum;
  }

  // Where a stretch has come to.
  struct Place {
    const double* row;     // weights of the position
    const int32_t* fixed;  // what it is
    double* into;          // its messages
    Weights weights;       // read, long before they are used
  };

  template <bool plain, typename Team>
  DEMASK_EVERYWHERE void pass_on(const MessageStretch& stretch, Team& team) {
    Place place{stretch.weights, stretch.fixed, stretch.messages, {}};
    read_weights(place.row, place.weights);
    int left = stretch.positions;
    for (; left >= group; left -= group) {
      step<plain, false, false>(place, true, team);
      step<plain, true, false>(place, true, team);
      step<plain, false, false>(place, true, team);
      step<plain, false, true>(place, left > group, team);
    }
    for (; left > 0; --left) {
      step<plain, false, false>(place, left > 1, team);
    }
  }

  // One position. No branch and no pointer of its own: the latency of this is what the draw waits for.
  template <bool plain, bool is_measured, bool is_scaled, typename Team>
  DEMASK_EVERYWHERE void step(Place& place, bool goes_on, Team& team) {
    const double* after = place.into - width();
    double messages[count];
    for (int k = 0; k < each; ++k) {
      messages[k] = sum_of(k, place.row, place.weights, after);
      if (!plain) {
        const bool ended = *place.fixed != free_position && state_of(k) == table_.ended;
        messages[k] = *place.fixed == unshown_position ? after[state_of(k)] : ended ? 0 : messages[k];
      }
    }
    if (goes_on) {
      place.row -= weights_room_;
      --place.fixed;
      read_weights(place.row, place.weights);
    }
    if (is_scaled) {
      const double scale = inverse_power(team.offered());
      for (double& message : messages) {
        message *= scale;
      }
    }
    uint32_t largest = 0;
    for (int k = 0; k < each; ++k) {
      place.into[state_of(k)] = messages[k];
      const uint32_t upper = upper_half(messages[k]);
      largest = upper > largest ? upper : largest;
    }
    if (is_measured) {
      team.offer(largest);
    }
    team.sync();
    place.into += width();
  }

  const PatternTable& table_;
  int32_t weights_room_;
  int rank_, size_;
  int32_t token_class_[count][kept], next_[count][kept];
  const double* last_ = nullptr;
};

}  // namespace demask::kernels
