// Strategies that reveal a scheduled number of masked positions a step and never mask one again: `confidence`,
// `margin`, `entropy`, `random` and `maskgit`. One forward a step, or with confidence_source=rescore two but for the
// last.
#pragma once

#include <ATen/core/Tensor.h>

#include "sampling/reveal_policy.h"

namespace demask {

// Reveals the most certain. With a temperature above 0 the ranking is that of certainty / temperature + Gumbel noise:
// positions drawn without replacement in proportion to exp(certainty / temperature). Source: LLaDA (Nie et al. 2025)
// without, Dream (Ye et al. 2025) with alg_temp.
class RankedReveal : public RevealPolicy {
 public:
  // alg_temp: 0 or above.
  explicit RankedReveal(double alg_temp) : alg_temp_(alg_temp) {}
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }

 private:
  // float32 [B, T]
  virtual at::Tensor certainty(const Proposal& proposal) const = 0;
  double alg_temp_;
};

// The untempered probability of the drawn token. Source: LLaDA's low-confidence remasking.
class ConfidenceReveal : public RankedReveal {
 public:
  using RankedReveal::RankedReveal;

 private:
  at::Tensor certainty(const Proposal& proposal) const override;
};

// The difference of the two highest probabilities. Source: Dream's topk_margin; Kim et al. 2025.
class MarginReveal : public RankedReveal {
 public:
  using RankedReveal::RankedReveal;

 private:
  at::Tensor certainty(const Proposal& proposal) const override;
};

// Minus the entropy, so that the least uncertain come first. Source: Dream's entropy.
class EntropyReveal : public RankedReveal {
 public:
  using RankedReveal::RankedReveal;

 private:
  at::Tensor certainty(const Proposal& proposal) const override;
};

// Positions by chance. Source: LLaDA's random remasking.
class RandomReveal : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
};

// Highest log p + choice_temperature * (1 - progress) * Gumbel noise, on a cosine schedule unless another is asked for.
// Source: MaskGIT (Chang et al. 2022), whose code takes 4.5.
class MaskGitReveal : public RevealPolicy {
 public:
  explicit MaskGitReveal(double choice_temperature) : choice_temperature_(choice_temperature) {}
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }

 private:
  double choice_temperature_;
};

}  // namespace demask
