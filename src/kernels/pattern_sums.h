// Weights of few outputs: the sums within each class are kept beside them, so that a token is found there without its
// weights being made again. For the teams of pattern_draw.h.
#pragma once

#include "kernels/pattern_draw.h"

namespace demask::kernels {

// A rank's share of the tokens that have a class, which stand class by class: every size-th of them. The team's size
// times `chunks` is at least the number of outputs.
template <int chunks>
class SummedWeights {
 public:
  // Reads nothing but the table.
  DEMASK_EVERYWHERE SummedWeights(const PatternTable& table, int rank, int size) {
    const int32_t tokens = table.first_id[table.classes];
    for (int k = 0; k < chunks; ++k) {
      const int32_t i = rank + k * size;
      const bool exists = i < tokens;
      id_[k] = exists ? table.ids[i] : none;
      class_[k] = exists ? table.class_of[id_[k]] : no_pattern_class;
      first_[k] = exists ? table.first_id[class_[k]] : i;
      ends_[k] = exists && table.first_id[class_[k] + 1] == i + 1;
    }
  }

  // The weights of a masked position, scaled. stage: room for a number of each output, which all threads share.
  template <typename Read, typename Team>
  DEMASK_EVERYWHERE void weigh(const PatternArguments& a, const PatternTable& table, const Read& read, int64_t row,
                               float* stage, Team& team) const {
    const PatternLogits<Read> logits{a, read, row, PatternSource::filtered};
    float x[count];
    float own_highest = -INFINITY, own_largest = -INFINITY;
    bool broken = false, possible = false;
    for (int k = 0; k < chunks; ++k) {
      const int64_t id = team.rank() + k * team.size();
      x[k] = -INFINITY;
      if (id < a.outputs) {
        const float own = read(row, id);
        x[k] = logits(id);
        stage[id] = x[k];
        broken = broken || !(own < INFINITY);
        possible = possible || own + a.forbidden[id] > -INFINITY;
        own_highest = fmaxf(own_highest, x[k]);
      }
    }
    team.sync();
    float by_class[count];
    for (int k = 0; k < chunks; ++k) {
      by_class[k] = id_[k] == none ? -INFINITY : stage[id_[k]];
      own_largest = fmaxf(own_largest, by_class[k]);
    }
    const bool impossible = team.all(!possible);
    const float highest = team.max(broken || impossible ? INFINITY : own_highest);
    const auto largest = static_cast<double>(team.max(own_largest));
    const bool holds = team.all(sum_classes(a, row, by_class, largest, team) && largest < HUGE_VAL);
    double total = 0;
    for (int k = 0; k < chunks; ++k) {
      total += static_cast<double>(expf(x[k] - highest));
    }
    total = team.sum(total);
    double* weights = a.weights + row * a.weights_room;
    for (int32_t c = team.rank(); c <= table.classes; c += team.size()) {
      if (c == table.classes || table.first_id[c] == table.first_id[c + 1]) {
        weights[c] = 0;
      }
    }
    if (team.rank() == 0) {
      a.holds[row] = holds;
      a.largest[row] = largest;
      a.highest[row] = highest;
      a.total[row] = static_cast<float>(total);
    }
  }

 private:
  static constexpr int32_t none = -1;
  static constexpr auto count = static_cast<size_t>(chunks);

  // Writes the sums up to each token within its class, and those of the classes; whether they are in range.
  template <typename Team>
  DEMASK_EVERYWHERE bool sum_classes(const PatternArguments& a, int64_t row, const float (&logits)[count],
                                     double largest, Team& team) const {
    constexpr double tiny = 1e-300;  // so that a class has no weight where no token is possible, and only there
    double sums[count];
    int32_t before[count];
    for (int k = 0; k < chunks; ++k) {
      const double x = static_cast<double>(logits[k]) - largest;
      sums[k] = x > -HUGE_VAL ? fmax(exp(x), tiny) : 0.0;
      before[k] = team.rank() + k * team.size() - first_[k];
    }
    team.scan_within(sums, before);
    const double least = least_weight;
    double carried = 0;  // of the class that the ranks before end in
    bool holds = true;
    for (int k = 0; k < chunks; ++k) {
      sums[k] += before[k] > team.rank() ? carried : 0.0;
      carried = team.of_last_rank(sums[k]);
      if (id_[k] != none) {
        a.sums[row * a.outputs + team.rank() + k * team.size()] = sums[k];
      }
      if (ends_[k]) {
        a.weights[row * a.weights_room + class_[k]] = sums[k];
        holds = holds && (sums[k] == 0 || sums[k] >= least);
      }
    }
    return holds;
  }

  int32_t id_[count], class_[count];
  int32_t first_[count];  // of the class
  bool ends_[count];      // whether it is the last of its class
};

// Where a class's sums exceed the choice's share of them first, in the order of the table's ids; where rounding leaves
// none, its last place.
DEMASK_EVERYWHERE inline int32_t find_share(const PatternTable& table, const double* sums, double class_weight,
                                            const PatternChoice& choice) {
  constexpr int32_t parts = 4;  // reads that do not wait for each other, and one
  int32_t first = table.first_id[choice.token_class];
  int32_t count = table.first_id[choice.token_class + 1] - first;
  const double threshold = choice.share * class_weight;
  while (count > 1) {
    const int32_t part = (count + parts - 1) / parts;
    double last[static_cast<size_t>(parts - 1)];
    for (int32_t k = 0; k < parts - 1; ++k) {
      last[k] = (k + 1) * part < count ? sums[first + (k + 1) * part - 1] : HUGE_VAL;
    }
    int32_t skipped = 0;
    for (int32_t k = 0; k < parts - 1; ++k) {
      skipped += last[k] > threshold ? 0 : part;
    }
    first += skipped;
    count = count - skipped < part ? count - skipped : part;
  }
  return first;
}

// What pick_token does for a text by scaled messages, by one thread.
template <typename Read>
DEMASK_EVERYWHERE void pick_summed(const PatternArguments& a, const PatternTable& table, const Read& read,
                                   int64_t row) {
  if (!a.masked[row] || !a.drawn[row]) {
    a.chosen[row] = a.tokens[row];
    a.probabilities[row] = 1;
    return;
  }
  const int64_t after = row + text_of(a, row) + 1;
  const double* weights = a.weights + row * a.weights_room;
  const PatternChoice choice = choose_by_chance<PatternNumbers::scaled>(
      table, a.path[row], weights, a.messages + after * a.states_room, a.uniforms[row]);
  const PatternLogits<Read> logits{a, read, row, PatternSource::filtered};
  int32_t id = -1;
  if (choice.token_class >= 0) {
    // Sums next to each other are rounded each on its own, so that a token without weight can seem to have some.
    int32_t place = find_share(table, a.sums + row * a.outputs, weights[choice.token_class], choice);
    while (place > table.first_id[choice.token_class] && !(logits(table.ids[place]) > -INFINITY)) {
      --place;
    }
    id = table.ids[place];
  }
  write_pick(a, logits, row, id);
}

}  // namespace demask::kernels
