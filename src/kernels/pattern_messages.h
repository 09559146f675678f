// The messages of a joint draw, from a text's end to its start: what the rest of the text weighs after each state. See
// pattern_draw.h, whose teams of threads these are for.
#pragma once

#include "kernels/pattern_rule.h"

// So that what a thread keeps in arrays stays in registers.
#ifdef __CUDACC__
#define DEMASK_UNROLLED _Pragma("unroll")
#else
#define DEMASK_UNROLLED
#endif

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

// A state's edges, at most so many; those that it lacks have no weight.
template <int most_edges>
struct FewEdges {
  int32_t token_class[static_cast<size_t>(most_edges)], next[static_cast<size_t>(most_edges)];

  // Of no state of the table: none.
  DEMASK_EVERYWHERE void take(const PatternTable& table, int32_t state) {
    const bool exists = state < table.states;
    const int32_t first = exists ? table.first_edge[state] : 0, last = exists ? table.first_edge[state + 1] : 0;
    DEMASK_UNROLLED
    for (int e = 0; e < most_edges; ++e) {
      const bool has = first + e < last;
      token_class[e] = has ? table.edges[2 * (first + e)] : table.classes;
      next[e] = has ? table.edges[2 * (first + e) + 1] : state;
    }
  }
  // f(e): the message of the state that edge e leads to.
  template <typename F>
  DEMASK_EVERYWHERE double message(const double* weights, F f) const {
    double sum = 0;
    DEMASK_UNROLLED
    for (int e = 0; e < most_edges; ++e) {
      sum += weights[token_class[e]] * f(e);
    }
    return sum;
  }
};

// What a thread of send_few_messages has: the edges of its states, those of the states that they lead to, and what its
// steps leave for the next.
template <int each, int most_edges, typename Rows, typename Team>
struct FewMessages {
  static constexpr bool two = most_edges <= 2;  // positions a step
  static constexpr auto count = static_cast<size_t>(each);
  const PatternArguments& a;
  const PatternTable& table;
  Rows& rows;
  Team& team;
  double* buffers;       // [2, each * team.size()]
  double *into, *now;    // where messages go: for all threads, and for the draw
  uint32_t largest = 0;  // of those that this thread sent last
  bool holds = true;
  FewEdges<most_edges> own[count] = {};
  FewEdges<most_edges> second[count][static_cast<size_t>(two ? most_edges : 1)] = {};

  DEMASK_EVERYWHERE int32_t state_of(int k) const { return team.rank() + k * team.size(); }
  // The state that has no message where a token is settled, or none.
  DEMASK_EVERYWHERE int32_t without(int32_t fixed) const { return fixed == free_position ? -1 : table.ended; }

  DEMASK_EVERYWHERE void begin() {
    DEMASK_UNROLLED
    for (int k = 0; k < each; ++k) {
      const int32_t state = state_of(k);
      own[k].take(table, state);
      if constexpr (two) {
        DEMASK_UNROLLED
        for (int e = 0; e < most_edges; ++e) {
          second[k][e].take(table, own[k].next[e]);
        }
      }
      send(k, state < table.states && table.accepts[state] != 0 ? 1.0 : 0.0);
    }
    largest = upper_half(1.0);
    team.sync();
  }

  DEMASK_EVERYWHERE void keep(int k, double message) {
    if (state_of(k) < a.states_room) {
      now[state_of(k)] = message;
    }
    holds = static_cast<bool>(holds & in_message_range(message));
  }
  DEMASK_EVERYWHERE void send(int k, double message) {
    into[state_of(k)] = message;
    keep(k, message);
    const uint32_t upper = upper_half(message);
    largest = upper > largest ? upper : largest;
  }
  DEMASK_EVERYWHERE void send_all(const double (&messages)[count], double scale) {
    into = buffers + (into == buffers ? each * team.size() : 0);
    largest = 0;
    DEMASK_UNROLLED
    for (int k = 0; k < each; ++k) {
      send(k, messages[k] * scale);
    }
    team.sync();
  }

  // One position, of which `scale` is asked once all threads have read what was sent before.
  template <typename Scale>
  DEMASK_EVERYWHERE void step(const double* weights, int32_t fixed, Scale scale) {
    const double* after = into;
    double messages[count];
    DEMASK_UNROLLED
    for (int k = 0; k < each; ++k) {
      messages[k] = fixed == unshown_position ? after[state_of(k)]
                    : state_of(k) == without(fixed)
                        ? 0
                        : own[k].message(weights, [&](int e) { return after[own[k].next[e]]; });
    }
    now -= a.states_room;
    send_all(messages, scale());
  }

  // Two positions that the pattern sees, the later one's messages for the draw alone.
  DEMASK_EVERYWHERE void step_over(const double* later, int32_t later_fixed, const double* earlier,
                                   int32_t earlier_fixed) {
    const double* after = into;
    const int32_t later_without = without(later_fixed), earlier_without = without(earlier_fixed);
    double messages[count];
    now -= a.states_room;
    DEMASK_UNROLLED
    for (int k = 0; k < each; ++k) {
      const double message = own[k].message(later, [&](int e) { return after[own[k].next[e]]; });
      keep(k, state_of(k) == later_without ? 0 : message);
      const double sum = own[k].message(earlier, [&](int e) {
        const double between = second[k][e].message(later, [&](int f) { return after[second[k][e].next[f]]; });
        return own[k].next[e] == later_without ? 0 : between;
      });
      messages[k] = state_of(k) == earlier_without ? 0 : sum;
    }
    now -= a.states_room;
    team.sync();
    send_all(messages, inverse_power(team.offered()));
  }

  // As in send_messages every second position is scaled, by the largest that was sent two before.
  DEMASK_EVERYWHERE void two_steps(int64_t t, int32_t later_fixed, int32_t earlier_fixed) {
    const double *later = rows.at(t, team), *earlier = rows.at(t - 1, team);
    team.offer(largest);
    if constexpr (two) {
      if (later_fixed != unshown_position && earlier_fixed != unshown_position) {
        step_over(later, later_fixed, earlier, earlier_fixed);
        return;
      }
    }
    step(later, later_fixed, [] { return 1.0; });
    step(earlier, earlier_fixed, [&] { return inverse_power(team.offered()); });
  }
};

// The same of scaled messages, for automata of few states: a thread has `each` of them with at most `most_edges` edges,
// and keeps these edges, so that nothing is looked up in a step; how soon a step is done is all that counts, as each
// waits for the one before. Where edges are two, a step is two positions long: a thread works out itself what it needs
// of the one in between. buffers [2, each * size]. rows.at(t) has to be good until rows.at(t - 2), from an odd distance
// to the end on.
template <int each, int most_edges, typename Rows, typename Team>
DEMASK_EVERYWHERE bool send_few_messages(const PatternArguments& a, const PatternTable& table, int64_t b, Rows& rows,
                                         double* buffers, Team& team) {
  FewMessages<each, most_edges, Rows, Team> thread{
      a, table, rows, team, buffers, buffers, a.messages + (b * (a.length + 1) + a.length) * a.states_room};
  thread.begin();
  int64_t t = a.length - 1;
  int32_t later = rows.fixed(t), earlier = t > 0 ? rows.fixed(t - 1) : 0;
  for (; t > 0; t -= 2) {
    const int32_t now_later = later, now_earlier = earlier;
    later = t > 1 ? rows.fixed(t - 2) : 0;  // on their way before they are waited for
    earlier = t > 2 ? rows.fixed(t - 3) : 0;
    thread.two_steps(t, now_later, now_earlier);
  }
  if (t == 0) {
    thread.step(rows.at(t, team), later, [] { return 1.0; });
  }
  return team.all(thread.holds);
}

}  // namespace demask::kernels
