// Strategy `best`: the recipe that measuring found (docs/strategies.md). One forward a step, and a second one in some
// of the last steps (rescored_share), or with confidence_source=rescore in all but the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "sampling/reveal_policy.h"

namespace demask {

struct InformativeOptions {
  double prior_weight = 0;        // w
  double new_token_bonus = 0;     // n, nats
  double choice_temperature = 0;  // c
};

// Masks again the most doubtful of all free positions:
//   (-log p) * (H0 / -log p0)^w - n * [just drawn] - c * (1 - progress) * Gumbel noise,
// where p is the model's untempered probability of the token in place, p0 that of this token before there is any text
// (the mean over the free positions of the first forward), and H0 the entropy of p0. A common character is probable
// anywhere, so that plain confidence keeps it and the text drifts towards the commonest; here, surprise is measured
// against that which the token has of its own. PC-Sampler (Huang et al. 2025) weighs confidence by a corpus's
// frequencies to the same end; annealed noise on log confidence is MaskGIT's (Chang et al. 2022).
class InformativeRemasking : public RevealPolicy {
 public:
  explicit InformativeRemasking(const InformativeOptions& options) : options_(options) {}
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }
  bool looks_at_start() const override { return options_.prior_weight != 0; }
  void look_at_start(const at::Tensor& logits, const at::Tensor& eligible) override;

 private:
  InformativeOptions options_;
  at::Tensor weight_;  // [B, V] float32: (H0 / -log p0)^w
};

}  // namespace demask
