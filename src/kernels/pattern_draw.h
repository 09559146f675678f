// The joint draw of texts that match patterns, part by part, for a team of threads: a warp or a block of a GPU, or of
// the host, where tests run them. Source: as pattern/completions.h, whose draws these are but for rounding.
//
// A team has what SingleThread has; all its threads call each of these together.
#pragma once

#include "kernels/pattern_messages.h"
#include "kernels/pattern_rule.h"
#include "kernels/pattern_team.h"

namespace demask::kernels {

// Logits are as they are or beyond every number that a model gives.
inline constexpr float excluded_pattern_logit = -1e30F;

// read(row, id): a logit as the model gave it, float32.
template <typename Read>
struct PatternLogits {
  const PatternArguments& a;
  const Read& read;
  int64_t row;
  PatternSource source;

  DEMASK_EVERYWHERE float operator()(int64_t id) const {
    if (source == PatternSource::filtered && a.filtered != nullptr) {
      return a.filtered[row * a.outputs + id];
    }
    const float temperature = a.temperatures == nullptr ? a.temperature : a.temperatures[row / a.rows_per_temperature];
    const float logit = read(row, id);
    if (source == PatternSource::filtered) {
      return temperature == 0 ? logit + a.forbidden[id] : (logit + a.forbidden[id]) / temperature;
    }
    const float x = temperature == 0 ? logit : logit / temperature;
    const float finite = x == x ? x : excluded_pattern_logit;
    return fminf(fmaxf(finite, excluded_pattern_logit), -excluded_pattern_logit) + a.forbidden[id];
  }
};

// The weight of one class; false where it is too small for scaled messages.
template <PatternNumbers numbers, typename Logits, typename Team>
DEMASK_EVERYWHERE bool weigh_class(const PatternTable& table, int32_t token_class, const Logits& logits, double largest,
                                   double* weights, Team& team) {
  const int32_t first = table.first_id[token_class] + team.rank(), end = table.first_id[token_class + 1];
  float top = -INFINITY;
  for (int32_t i = first; i < end; i += team.size()) {
    top = fmaxf(top, logits(table.ids[i]));  // which leaves NaN out
  }
  const double class_top = static_cast<double>(team.max(top));
  const bool possible = class_top > -HUGE_VAL;
  double weight = possible ? class_top : pattern_none<numbers>();
  if (possible && numbers != PatternNumbers::likeliest) {
    const double base = numbers == PatternNumbers::scaled ? largest : class_top;
    double sum = 0;
    for (int32_t i = first; i < end; i += team.size()) {
      const double x = static_cast<double>(logits(table.ids[i])) - base;
      sum += x > -HUGE_VAL ? exp(x) : 0.0;
    }
    sum = team.sum(sum);
    weight = numbers == PatternNumbers::scaled ? sum : class_top + log(sum);
  }
  if (team.rank() == 0) {
    weights[token_class] = weight;
  }
  return numbers != PatternNumbers::scaled || !possible || class_top - largest >= least_log_weight;
}

// Classes of up to so many tokens are one thread's, and one warp's.
inline constexpr int32_t thread_class = 8, warp_class = 2048;

// The weights of a position whose token is settled: of its class alone. False where the position is to be drawn.
template <PatternNumbers numbers, typename Team>
DEMASK_EVERYWHERE bool weigh_settled(const PatternArguments& a, const PatternTable& table, int64_t row, Team& team) {
  const int32_t fixed = a.fixed[row];
  if (fixed == free_position && a.masked[row]) {
    return false;
  }
  double* weights = a.weights + row * a.weights_room;
  const int64_t token = a.tokens[row];
  const int32_t only = fixed != free_position            ? fixed
                       : token >= 0 && token < a.outputs ? table.class_of[token]
                                                         : no_pattern_class;
  for (int32_t c = team.rank(); c <= table.classes; c += team.size()) {
    weights[c] = c == only ? pattern_one<numbers>() : pattern_none<numbers>();
  }
  if (team.rank() == 0) {
    a.holds[row] = true;
  }
  return true;
}

// The weights of one position: of its classes, or of one class where its token is settled.
template <PatternNumbers numbers, typename Read, typename Team>
DEMASK_EVERYWHERE void weigh_position(const PatternArguments& a, const PatternTable& table, const Read& read,
                                      int64_t row, PatternSource source, Team& team) {
  if (weigh_settled<numbers>(a, table, row, team)) {
    return;
  }
  double* weights = a.weights + row * a.weights_room;
  const PatternLogits<Read> logits{a, read, row, source};
  float own_highest = -INFINITY, own_largest = -INFINITY;
  bool broken = false, possible = false;
  for (int64_t id = team.rank(); id < a.outputs; id += team.size()) {
    const float x = logits(id);
    const float own = read(row, id);
    broken = broken || !(own < INFINITY);
    possible = possible || own + a.forbidden[id] > -INFINITY;
    own_highest = fmaxf(own_highest, x);
    own_largest = table.class_of[id] >= 0 ? fmaxf(own_largest, x) : own_largest;
  }
  const bool impossible = team.all(!possible);
  const float highest = team.max(broken || impossible ? INFINITY : own_highest);
  const auto largest = static_cast<double>(team.max(own_largest));
  double total = 0;
  for (int64_t id = team.rank(); id < a.outputs; id += team.size()) {
    total += static_cast<double>(expf(logits(id) - highest));
  }
  total = team.sum(total);
  const auto size_of = [&](int32_t c) { return table.first_id[c + 1] - table.first_id[c]; };
  bool holds = largest < HUGE_VAL;
  SingleThread alone;
  for (int32_t c = team.rank(); c < table.classes; c += team.size()) {
    if (size_of(c) <= thread_class) {
      holds = weigh_class<numbers>(table, c, logits, largest, weights, alone) && holds;
    }
  }
  auto warp = team.warp();
  for (int32_t c = team.warp_rank(); c < table.classes; c += team.warps()) {
    if (size_of(c) > thread_class && size_of(c) <= warp_class) {
      holds = weigh_class<numbers>(table, c, logits, largest, weights, warp) && holds;
    }
  }
  for (int32_t c = 0; c < table.classes; ++c) {
    if (size_of(c) > warp_class) {
      holds = weigh_class<numbers>(table, c, logits, largest, weights, team) && holds;
    }
  }
  holds = team.all(holds);
  if (team.rank() == 0) {
    weights[table.classes] = pattern_none<numbers>();
    a.holds[row] = holds;
    a.largest[row] = largest;
    a.highest[row] = highest;
    a.total[row] = static_cast<float>(total);
  }
}

// The lowest id of a class with this logit, or the number of outputs.
template <typename Logits>
DEMASK_EVERYWHERE int32_t lowest_id_of(const PatternArguments& a, const PatternTable& table, const Logits& logits,
                                       int32_t token_class, double logit) {
  for (int32_t i = table.first_id[token_class]; i < table.first_id[token_class + 1]; ++i) {
    if (static_cast<double>(logits(table.ids[i])) == logit) {
      return table.ids[i];
    }
  }
  return static_cast<int32_t>(a.outputs);
}

template <typename Read>
DEMASK_EVERYWHERE PatternChoice choose_likeliest(const PatternArguments& a, const PatternTable& table, const Read& read,
                                                 int64_t row, int32_t state, const double* after) {
  const double* weights = a.weights + row * a.weights_room;
  const PatternLogits<Read> logits{a, read, row, a.source[row / a.length]};
  PatternChoice choice;
  double largest = -HUGE_VAL;
  for_each_edge(table, table.first_edge[state], table.first_edge[state + 1], [&](int32_t c, int32_t next) {
    const double term = weights[c] + after[next];
    const bool is_tie = term == largest && choice.next >= 0 &&
                        lowest_id_of(a, table, logits, c, weights[c]) <
                            lowest_id_of(a, table, logits, choice.token_class, weights[choice.token_class]);
    if (term > largest || is_tie) {
      largest = term;
      choice = {c, next, 0};
    }
  });
  return choice;
}

// Where position t leads to from a state, by the position's uniform number.
template <typename Read>
DEMASK_EVERYWHERE PatternChoice choose_next(const PatternArguments& a, const PatternTable& table, const Read& read,
                                            int64_t b, int64_t t, int32_t state) {
  const int64_t row = b * a.length + t;
  const double* weights = a.weights + row * a.weights_room;
  const double* after = a.messages + (b * (a.length + 1) + t + 1) * a.states_room;
  if (a.fixed[row] == unshown_position) {
    return {no_pattern_class, state, 0};
  }
  switch (a.numbers[b]) {
    case PatternNumbers::scaled:
      return choose_by_chance<PatternNumbers::scaled>(table, state, weights, after, a.uniforms[row]);
    case PatternNumbers::logarithms:
      return choose_by_chance<PatternNumbers::logarithms>(table, state, weights, after, a.uniforms[row]);
    case PatternNumbers::likeliest:
      return choose_likeliest(a, table, read, row, state, after);
    default:
      return {};
  }
}

// Positions that the walk composes at a time, so that a text's chain of lookups is as long as it has of these.
inline constexpr int64_t walk_stretch = 16;

DEMASK_EVERYWHERE inline int64_t walk_stretches(int64_t length) {
  return (length + walk_stretch - 1) / walk_stretch;
}
// Bytes of room in which the walk goes faster; for tables of up to 256 states.
DEMASK_EVERYWHERE inline int64_t walk_room(int64_t length, int64_t states) {
  return (length + walk_stretches(length)) * states + walk_stretches(length);
}

// The states before each position, by `next`, from the start on. room: walk_room bytes that all threads share, or none.
template <typename Team>
DEMASK_EVERYWHERE void walk(const PatternArguments& a, const PatternTable& table, int64_t b, uint8_t* room,
                            Team& team) {
  const int32_t* next = a.next + b * a.length * a.states_room;
  int32_t* path = a.path + b * a.length;
  if (room == nullptr) {
    int32_t state = 0;
    for (int64_t t = 0; t < a.length && team.rank() == 0; ++t) {
      path[t] = state;
      state = next[t * a.states_room + state];
    }
    return;
  }
  const int64_t states = table.states, stretches = walk_stretches(a.length);
  uint8_t *steps = room, *jumps = steps + a.length * states, *starts = jumps + stretches * states;
  auto warp = team.warp();
  constexpr int at_once = 8;  // reads that do not wait for each other
  for (int64_t first = team.warp_rank(); first < a.length; first += at_once * team.warps()) {
    for (int64_t state = warp.rank(); state < states; state += warp.size()) {
      uint8_t read[at_once];
      for (int i = 0; i < at_once; ++i) {
        const int64_t t = first + i * team.warps();
        read[i] = t < a.length ? static_cast<uint8_t>(next[t * a.states_room + state]) : uint8_t{0};
      }
      for (int i = 0; i < at_once; ++i) {
        if (const int64_t t = first + i * team.warps(); t < a.length) {
          steps[t * states + state] = read[i];
        }
      }
    }
  }
  team.sync();
  const auto follow = [&](int64_t stretch, uint8_t state, auto visit) {
    const int64_t end = (stretch + 1) * walk_stretch < a.length ? (stretch + 1) * walk_stretch : a.length;
    for (int64_t t = stretch * walk_stretch; t < end; ++t) {
      visit(t, state);
      state = steps[t * states + state];
    }
    return state;
  };
  for (int64_t stretch = team.warp_rank(); stretch < stretches; stretch += team.warps()) {
    for (int64_t state = warp.rank(); state < states; state += warp.size()) {
      jumps[stretch * states + state] = follow(stretch, static_cast<uint8_t>(state), [](int64_t, uint8_t) {});
    }
  }
  team.sync();
  uint8_t state = 0;
  for (int64_t stretch = 0; stretch < stretches && team.rank() == 0; ++stretch) {
    starts[stretch] = state;
    state = jumps[stretch * states + state];
  }
  team.sync();
  for (int64_t stretch = team.rank(); stretch < stretches; stretch += team.size()) {
    follow(stretch, starts[stretch], [&](int64_t t, uint8_t at) { path[t] = at; });
  }
}

// The token of a class: the first id at which the sum of weights exceeds the choice's share of it; where rounding keeps
// the sum below, the last with a weight.
template <typename Logits, typename Team>
DEMASK_EVERYWHERE int32_t pick_by_chance(const PatternTable& table, const PatternChoice& choice, const Logits& logits,
                                         double base, double class_weight, Team& team) {
  const int32_t first = table.first_id[choice.token_class], end = table.first_id[choice.token_class + 1];
  const double threshold = choice.share * class_weight;
  double below = 0;
  int32_t last = -1;
  for (int32_t start = first; start < end; start += team.size()) {
    const int32_t i = start + team.rank();
    const double x = i < end ? static_cast<double>(logits(table.ids[i])) - base : -HUGE_VAL;
    const double weight = x > -HUGE_VAL ? exp(x) : 0.0;
    const double upto = below + team.scan(weight);
    if (const auto found = team.first(weight > 0 && upto > threshold); found >= 0) {
      return table.ids[start + found];
    }
    const auto possible = team.last(weight > 0);
    last = possible >= 0 ? table.ids[start + possible] : last;
    below = team.of_last_rank(upto);
  }
  return last;
}

// Writes the token of one position and its probability, which is that of its own distribution.
template <typename Logits>
DEMASK_EVERYWHERE void write_pick(const PatternArguments& a, const Logits& logits, int64_t row, int32_t id) {
  const bool found = id >= 0 && id < a.outputs;
  const float probability = found ? expf(logits(id) - a.highest[row]) / a.total[row] : NAN;
  a.chosen[row] = found ? id : 0;
  a.probabilities[row] = probability;
  if (!(probability >= 0)) {  // not a number
    *a.broken = true;
  }
}

// Draws the token of one position from the class that its state's choice has.
template <typename Read, typename Team>
DEMASK_EVERYWHERE void pick_token(const PatternArguments& a, const PatternTable& table, const Read& read, int64_t row,
                                  Team& team) {
  const int64_t b = row / a.length;
  if (!a.masked[row] || !a.drawn[row]) {
    if (team.rank() == 0) {
      a.chosen[row] = a.tokens[row];
      a.probabilities[row] = 1;
    }
    return;
  }
  const PatternLogits<Read> logits{a, read, row, a.source[b]};
  const PatternChoice choice = choose_next(a, table, read, b, row % a.length, a.path[row]);
  int32_t id = -1;
  if (choice.token_class >= 0) {
    const double weight = a.weights[row * a.weights_room + choice.token_class];
    id = a.numbers[b] == PatternNumbers::likeliest ? lowest_id_of(a, table, logits, choice.token_class, weight)
         : a.numbers[b] == PatternNumbers::scaled  ? pick_by_chance(table, choice, logits, a.largest[row], weight, team)
                                                   : pick_by_chance(table, choice, logits, weight, 1, team);
  }
  if (team.rank() == 0) {
    write_pick(a, logits, row, id);
  }
}

}  // namespace demask::kernels
