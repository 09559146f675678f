// Strategies that decide in each step how many masked positions to reveal, by how certain the model is, and stop when
// none is left: `threshold`, `factor`, `entropy_bound` and `klass`. At least one a step, so that they end; one forward
// a step, or with confidence_source=rescore two but for the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/kernels.h"
#include "sampling/reveal_policy.h"

namespace demask {

// kernels::reveal, by LibTorch's operations where there is no kernel for it.
at::Tensor reveal_most_certain(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                               kernels::RevealRule rule, double bound);

class AdaptiveReveal : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override {
    return reveal_most_certain(certainty(proposal), proposal.drawn, turn.steps_left, rule_, bound_);
  }
  bool reads_logits(bool /*judged*/) const override { return true; }
  bool decides_counts() const override { return true; }
  bool ends_when_filled() const override { return true; }

 protected:
  AdaptiveReveal(kernels::RevealRule rule, double bound) : rule_(rule), bound_(bound) {}

 private:
  virtual at::Tensor certainty(const Proposal& proposal) = 0;  // [B, T] float32
  kernels::RevealRule rule_;
  double bound_;
};

// All whose drawn token has a probability of at least `threshold`. Source: Fast-dLLM (Wu et al. 2025), section 3.3.
class ThresholdReveal : public AdaptiveReveal {
 public:
  explicit ThresholdReveal(double threshold) : AdaptiveReveal(kernels::RevealRule::at_least, threshold) {}

 private:
  at::Tensor certainty(const Proposal& proposal) override;
};

// With probabilities c(1) >= c(2) >= ..., the largest n for which (n + 1) * (1 - c(n)) < factor. Source: Fast-dLLM (Wu
// et al. 2025), its factor-based parallel decoding.
class FactorReveal : public AdaptiveReveal {
 public:
  explicit FactorReveal(double factor) : AdaptiveReveal(kernels::RevealRule::factor, factor) {}

 private:
  at::Tensor certainty(const Proposal& proposal) override;
};

// With entropies H(1) <= H(2) <= ... in nats, the largest n for which H(1) + ... + H(n) - max H(i) <= gamma. Source:
// EB-Sampler (Ben-Hamu et al. 2025), with entropy as the error proxy.
class EntropyBoundReveal : public AdaptiveReveal {
 public:
  explicit EntropyBoundReveal(double gamma) : AdaptiveReveal(kernels::RevealRule::entropy_sum, gamma) {}

 private:
  at::Tensor certainty(const Proposal& proposal) override;
};

// All whose drawn token has a probability of at least `conf_threshold` and whose distribution moved, from one step to
// the next, by a KL divergence (nats) below `kl_threshold` in each of the last `kl_history` steps; where there is none,
// the most probable. Remembers the last distributions [B, T, V]. Source: KLASS (Kim et al. 2025), algorithm 1.
class KlassReveal : public AdaptiveReveal {
 public:
  KlassReveal(double conf_threshold, double kl_threshold, int64_t kl_history);
  void begin(const at::Tensor& tokens) override;

 private:
  at::Tensor certainty(const Proposal& proposal) override;  // the stable ones 2 above all others
  kernels::Stability stability_;
  at::Tensor previous_;  // [B, T, V] float32, log probabilities of the step before
  at::Tensor steady_;    // [B, T] int64, steps in a row that moved little; -1 before the first
};

// kernels::stable_probability, by LibTorch's operations where there is no kernel for it.
at::Tensor stability_certainty(const at::Tensor& logits, const at::Tensor& tokens, const kernels::Stability& stability,
                               const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken);

}  // namespace demask
