// The messages of a joint draw, from a text's end to its start: what the rest of the text weighs after each state. See
// pattern_draw.h, whose teams of threads these are for.
#pragma once

#include <type_traits>

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

// The same of scaled messages, where `each` states of `most_edges` edges at most are all that a thread has: nothing is
// asked in a step, as each waits for the one before it. buffers [2, each * size].
template <int each, int most_edges, typename Rows, typename Team>
DEMASK_EVERYWHERE bool send_few_messages(const PatternArguments& a, const PatternTable& table, int64_t b, Rows& rows,
                                         double* buffers, Team& team) {
  constexpr auto count = static_cast<size_t>(each), edges = static_cast<size_t>(most_edges);
  const int32_t rank = team.rank(), size = team.size(), width = each * size;
  int32_t token_class[count][edges], next[count][edges];
  double* now = a.messages + (b * (a.length + 1) + a.length) * a.states_room;
  double* into = buffers;
  const auto state_of = [&](int k) { return rank + k * size; };
  const auto send = [&](int k, double message) {
    into[state_of(k)] = message;
    if (state_of(k) < a.states_room) {
      now[state_of(k)] = message;
    }
  };
  for (int k = 0; k < each; ++k) {
    const int32_t state = state_of(k);
    const bool exists = state < table.states;
    const int32_t first = exists ? table.first_edge[state] : 0, last = exists ? table.first_edge[state + 1] : 0;
    for (int e = 0; e < most_edges; ++e) {
      const bool has = first + e < last;
      token_class[k][e] = has ? table.edges[2 * (first + e)] : table.classes;  // which has no weight
      next[k][e] = has ? table.edges[2 * (first + e) + 1] : state;
    }
    send(k, exists && table.accepts[state] != 0 ? 1.0 : 0.0);
  }
  team.sync();
  bool holds = true;
  uint32_t largest = upper_half(1.0);
  int32_t upcoming = rows.fixed(a.length - 1);
  const auto step = [&](int64_t t, auto scales) {
    const double* weights = rows.at(t, team);
    const int32_t fixed = upcoming;
    upcoming = rows.fixed(t > 0 ? t - 1 : 0);  // on its way before it is waited for
    const double* after = into;
    into = buffers + (into == buffers ? width : 0);
    now -= a.states_room;
    double scale = 1;
    if constexpr (decltype(scales)::value) {
      scale = inverse_power(team.offered());
    } else {
      team.offer(largest);
    }
    double messages[count];
    if (fixed == unshown_position) {
      for (int k = 0; k < each; ++k) {
        messages[k] = after[state_of(k)];
      }
    } else {
      const int32_t without = fixed == free_position ? -1 : table.ended;
      for (int k = 0; k < each; ++k) {
        double sum = 0;
        for (int e = 0; e < most_edges; ++e) {
          sum += weights[token_class[k][e]] * after[next[k][e]];
        }
        messages[k] = state_of(k) == without ? 0 : sum;
      }
    }
    largest = 0;
    for (int k = 0; k < each; ++k) {
      const double message = decltype(scales)::value ? messages[k] * scale : messages[k];
      send(k, message);
      holds = static_cast<bool>(holds & in_message_range(message));
      const uint32_t upper = upper_half(message);
      largest = upper > largest ? upper : largest;
    }
    team.sync();
  };
  int64_t t = a.length - 1;
  for (; t > 0; t -= 2) {
    step(t, std::false_type());
    step(t - 1, std::true_type());
  }
  if (t == 0) {
    step(t, std::false_type());
  }
  return team.all(holds);
}

}  // namespace demask::kernels
