// Strategies that decide in each step how many masked positions to reveal, by how certain the model is, and stop when
// none is left: `threshold`, `factor`, `entropy_bound` and `klass`. At least one a step, so that they end; one forward
// a step, or with confidence_source=rescore two but for the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "demask/sampling/reveal_policy.h"

namespace demask {

class AdaptiveReveal : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }
  bool decides_counts() const override { return true; }
  bool ends_when_filled() const override { return true; }

 protected:
  struct Choice {
    at::Tensor certainty;  // [B, T] float32: the highest of those drawn are revealed
    at::Tensor reveals;    // [B, 1] int64: so many, before the turn's bounds
  };

 private:
  virtual Choice choose(const Proposal& proposal) = 0;
};

// All whose drawn token has a probability of at least `threshold`. Source: Fast-dLLM (Wu et al. 2025), section 3.3.
class ThresholdReveal : public AdaptiveReveal {
 public:
  explicit ThresholdReveal(double threshold) : threshold_(threshold) {}

 private:
  Choice choose(const Proposal& proposal) override;
  double threshold_;
};

// With probabilities c(1) >= c(2) >= ..., the largest n for which (n + 1) * (1 - c(n)) < factor. Source: Fast-dLLM (Wu
// et al. 2025), its factor-based parallel decoding.
class FactorReveal : public AdaptiveReveal {
 public:
  explicit FactorReveal(double factor) : factor_(factor) {}

 private:
  Choice choose(const Proposal& proposal) override;
  double factor_;
};

// With entropies H(1) <= H(2) <= ... in nats, the largest n for which H(1) + ... + H(n) - max H(i) <= gamma. Source:
// EB-Sampler (Ben-Hamu et al. 2025), with entropy as the error proxy.
class EntropyBoundReveal : public AdaptiveReveal {
 public:
  explicit EntropyBoundReveal(double gamma) : gamma_(gamma) {}

 private:
  Choice choose(const Proposal& proposal) override;
  double gamma_;
};

// All whose drawn token has a probability of at least `conf_threshold` and whose distribution moved, from one step to
// the next, by a KL divergence (nats) below `kl_threshold` in each of the last `kl_history` steps; where there is none,
// the most probable. Remembers the last distributions [B, T, V]. Source: KLASS (Kim et al. 2025), algorithm 1.
class KlassReveal : public AdaptiveReveal {
 public:
  KlassReveal(double conf_threshold, double kl_threshold, int64_t kl_history)
      : conf_threshold_(conf_threshold), kl_threshold_(kl_threshold), kl_history_(kl_history) {}
  void begin(const at::Tensor& tokens) override;

 private:
  Choice choose(const Proposal& proposal) override;
  double conf_threshold_, kl_threshold_;
  int64_t kl_history_;
  at::Tensor previous_;  // [B, T, V] float32, log probabilities of the step before
  at::Tensor steady_;    // [B, T] int64, steps in a row that moved little
};

}  // namespace demask
