#include "bench/quality/hidden_markov.h"

#include <ATen/ATen.h>

#include <vector>

namespace demask::quality {
namespace {

// Of the mask: exp of it is 0, while 0 times it is still a number, as some strategies take entropies.
constexpr double never = -1e4;

at::Tensor table(const std::vector<double>& numbers, int64_t columns) {
  return at::tensor(numbers, at::kDouble).reshape({-1, columns});
}

at::Tensor normalize(const at::Tensor& weights) {
  return weights / weights.sum(-1, /*keepdim=*/true);
}

}  // namespace

HiddenMarkovChain example_chain() {
  return {table({0.5, 0.3, 0.2}, 3).squeeze(0),
          table({0.80, 0.15, 0.05,  //
                 0.10, 0.70, 0.20,  //
                 0.25, 0.05, 0.70},
                3),
          table({0.70, 0.20, 0.05, 0.05,  //
                 0.05, 0.15, 0.75, 0.05,  //
                 0.10, 0.10, 0.10, 0.70},
                4)};
}

HiddenMarkovModel::HiddenMarkovModel(const HiddenMarkovChain& chain)
    : chain_(chain),
      emission_or_mask_(
          at::cat({chain.emission.t(), at::ones({1, chain.emission.size(0)}, chain.emission.options())})) {
  info_.description = "a hidden Markov chain";
  info_.input_size = info_.output_size = chain.symbols() + 1;
  info_.bidirectional = true;
  info_.mask_token_id = chain.symbols();
}

// Source: Rabiner, A tutorial on hidden Markov models, 1989, section III.A.
at::Tensor HiddenMarkovModel::logits(const at::Tensor& tokens) {
  const int64_t length = tokens.size(1);
  const at::Tensor seen = emission_or_mask_.index({tokens});           // [B, T, S]
  std::vector<at::Tensor> before, after(static_cast<size_t>(length));  // [B, S] each: of a state, given one side
  at::Tensor message = chain_.initial.expand({tokens.size(0), -1});
  for (int64_t t = 0; t < length; ++t) {
    before.push_back(message);
    message = normalize((message * seen.select(1, t)).matmul(chain_.transition));
  }
  message = at::ones_like(message);
  for (int64_t t = length - 1; t >= 0; --t) {
    after[static_cast<size_t>(t)] = message;
    message = normalize((message * seen.select(1, t)).matmul(chain_.transition.t()));
  }
  const at::Tensor states = normalize(at::stack(before, 1) * at::stack(after, 1));
  const at::Tensor symbols = states.matmul(chain_.emission).log();
  return at::cat({symbols, at::full_like(symbols.narrow(2, 0, 1), never)}, 2).to(at::kFloat);
}

at::Tensor HiddenMarkovModel::probabilities(int64_t length) const {
  // Of every beginning and state: the probability of both. Each symbol more multiplies the beginnings.
  at::Tensor beginnings = (chain_.initial.unsqueeze(0) * chain_.emission.t());
  for (int64_t t = 1; t < length; ++t) {
    beginnings = (beginnings.matmul(chain_.transition).unsqueeze(1) * chain_.emission.t()).flatten(0, 1);
  }
  return beginnings.sum(-1);
}

}  // namespace demask::quality
