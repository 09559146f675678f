// A model whose conditionals are known exactly, so that what a strategy samples can be compared with the truth.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/language_model.h"

namespace demask::quality {

// A hidden Markov chain of S states that shows V symbols. All probabilities are above 0; tensors are float64 on the
// CPU, and rows add up to 1.
struct HiddenMarkovChain {
  at::Tensor initial;     // [S]
  at::Tensor transition;  // [S, S], from a state (row) to the next (column)
  at::Tensor emission;    // [S, V], of the symbols in each state

  int64_t symbols() const { return emission.size(1); }
};

// Three states that tend to stay and four symbols, each state preferring one: neighbours depend on each other so much
// that symbols drawn together without looking at each other show it.
HiddenMarkovChain example_chain();

// The masked-diffusion model that training on the chain's texts would end in: at every position the chain's exact
// distribution of its symbol given all other visible symbols, by the forward-backward algorithm. What stands at the
// position itself does not count, so that a visible symbol is judged by its surroundings. The mask is id V, never
// drawn.
class HiddenMarkovModel : public LanguageModel {
 public:
  explicit HiddenMarkovModel(const HiddenMarkovChain& chain);

  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  // tokens [B, T] int64 in 0 .. V -> [B, T, V + 1] float32
  at::Tensor logits(const at::Tensor& tokens) override;

  // Of every text of `length` symbols its probability, [V^length] float64, in the order of their symbols read as the
  // digits of a number, the first symbol the highest digit.
  at::Tensor probabilities(int64_t length) const;

 private:
  HiddenMarkovChain chain_;
  at::Tensor emission_or_mask_;  // [V + 1, S]: of a symbol in each state; of a mask, which says nothing, 1
  ModelInfo info_;
};

}  // namespace demask::quality
