// What strategies share that rank the positions just drawn, reveal a scheduled number of them a step and never mask one
// again (Pacing::reveals). One forward a step, or with confidence_source=rescore two but for the last.
#pragma once

#include <ATen/core/Tensor.h>

#include "sampling/reveal_policy.h"
#include "sampling/strategies/strategy.h"

namespace demask {

// Reveals the most certain. With a temperature above 0 the ranking is that of certainty / temperature + Gumbel noise:
// positions drawn without replacement in proportion to exp(certainty / temperature). Source: LLaDA (Nie et al. 2025)
// without, Dream (Ye et al. 2025) with alg_temp.
class RankedReveal : public RevealPolicy {
 public:
  // alg_temp: 0 or above.
  explicit RankedReveal(double alg_temp) : alg_temp_(alg_temp) {}
  Choice next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }

 private:
  // float32 [B, T]
  virtual at::Tensor certainty(const Proposal& proposal) const = 0;
  double alg_temp_;
};

// Of the positions just drawn, as many with the lowest scores [B, T] as the turn says, which stay masked.
Choice lowest_drawn(const at::Tensor& scores, const Proposal& proposal, const Turn& turn);

}  // namespace demask
