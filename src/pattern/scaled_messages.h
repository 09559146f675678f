// Drawing a completion by messages that are numbers and not logarithms: a product for each transition in place of an
// exponential, which is most of what a pattern costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "pattern/completions.h"
#include "pattern/reached_states.h"

namespace demask {

// The token of a masked position, of this class: the first id at which the sum of exp(logit - base) exceeds the
// threshold; where rounding keeps the sum below, the last of them.
int64_t pick(const TokenAutomaton& automaton, const MaskedLogits& logits, size_t masked, int32_t token_class,
             double base, double threshold);

// Messages from the end of a text to its start, those of a position scaled so that the largest is 1, as the forward
// variables of hidden Markov models are (Rabiner 1989, section V.A).
class ScaledMessages {
 public:
  ScaledMessages(const TokenAutomaton& automaton, const PartialText& text, const MaskedLogits& logits);

  // False where probabilities or messages of one position are so far apart that double's range may not hold them, and
  // what depends on the smallest would be lost; then they say nothing.
  bool hold() const { return hold_; }

  // As draw_completion does.
  std::optional<std::vector<int64_t>> draw(const float* uniforms);

 private:
  double* weights_of(size_t masked) { return weights_.data() + masked * static_cast<size_t>(automaton_.classes()); }
  void weigh_classes(const float* logits, double* weights);
  void send();
  void load(size_t position);
  double sum_over(TokenAutomaton::Edges edges, const double* weights) const;
  double message_from(int32_t state, const double* weights);
  int64_t choose(int32_t state, float uniform, size_t masked);

  const TokenAutomaton& automaton_;
  const PartialText& text_;
  const MaskedLogits& logits_;
  bool hold_ = true;
  std::vector<double> weights_;  // [masked, classes], the likeliest token of a position has 1
  std::vector<double> largest_;  // [masked], logit of that token
  std::optional<ReachedStates> reached_;
  std::vector<std::vector<double>> messages_;  // of these states
  std::vector<double> scales_;                 // of the messages of each position
  std::vector<double> after_;                  // by state: the messages of one position
  std::vector<double> shared_;                 // by group: what its edges add to that; below 0: not known yet
};

}  // namespace demask
