// What strategies share that decide in each step how many masked positions to reveal, by how certain the model is, and
// stop when none is left (Pacing::decides). At least one a step, so that they end; one forward a step, or with
// confidence_source=rescore two but for the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/operands.h"
#include "kernels/reveal_rule.h"
#include "sampling/reveal_policy.h"
#include "sampling/strategies/strategy.h"

namespace demask {

// kernels::cuda::reveal, by LibTorch's operations where there is no kernel for it.
at::Tensor reveal_most_certain(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                               const kernels::RevealRule& rule);

class AdaptiveReveal : public RevealPolicy {
 public:
  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    return reveal_most_certain(certainty(proposal), proposal.drawn, turn.steps_left, rule_);
  }
  bool reads_logits(bool /*judged*/) const override { return true; }
  bool decides_counts() const override { return true; }
  bool ends_when_filled() const override { return true; }

 protected:
  explicit AdaptiveReveal(const kernels::RevealRule& rule) : rule_(rule) {}

 private:
  virtual at::Tensor certainty(const Proposal& proposal) = 0;  // [B, T] float32
  kernels::RevealRule rule_;
};

// kernels::cuda::stable_probability, by LibTorch's operations where there is no kernel for it.
at::Tensor stability_certainty(const at::Tensor& logits, const at::Tensor& tokens, const kernels::Stability& stability,
                               const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken);

}  // namespace demask
