// What a step drew and what its turn asks for, written by hand: probabilities, flags and noise of one text.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "sampling/reveal_policy.h"

namespace demask::testing {

using Positions = std::vector<int64_t>;
using Distribution = std::vector<double>;

inline at::Tensor floats(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat).unsqueeze(0);
}
inline at::Tensor bools(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong).to(at::kBool).unsqueeze(0);
}

// [1, T, V]
inline at::Tensor logits_of(const std::vector<Distribution>& distributions) {
  std::vector<at::Tensor> rows;
  for (const Distribution& distribution : distributions) {
    rows.push_back(at::tensor(distribution, at::kDouble).log().to(at::kFloat));
  }
  return at::stack(rows).unsqueeze(0);
}

// Token 0 everywhere.
inline Proposal proposal_of(const std::vector<Distribution>& distributions, const std::vector<int64_t>& drawn) {
  const auto length = static_cast<int64_t>(distributions.size());
  return {at::zeros({1, length}, at::kLong), bools(drawn), at::ones({1, length}), logits_of(distributions),
          at::zeros({}, at::kBool)};
}

inline Turn turn_of(int64_t count, const std::vector<double>& noise, double progress = 0.5) {
  Turn turn;
  turn.noise = floats(noise);
  turn.budget = {at::ones({1, turn.noise.size(1)}, at::kBool), at::full({1, 1}, count, at::kLong)};
  turn.remasked = at::zeros({1, 1}, at::kLong);
  turn.progress = at::full({1, 1}, progress, at::kFloat);
  turn.noise_scale = at::ones({1, 1});
  turn.noise_left = 1 - turn.progress;
  return turn;
}

inline Positions positions(const Choice& choice) {
  const at::Tensor found = choice.masked()[0].nonzero().flatten();
  return {found.data_ptr<int64_t>(), found.data_ptr<int64_t>() + found.numel()};
}

// Token 0 has p of three ids; the other two share the rest.
inline Distribution sure(double p) {
  return {p, (1 - p) / 2, (1 - p) / 2};
}

}  // namespace demask::testing
