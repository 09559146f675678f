// Strategy `remask`, the guide's loop: after each step a scheduled number of positions is masked again, kept tokens
// included. One forward a step, and where a second one judges, two but for the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "sampling/reveal_policy.h"

namespace demask {

// Highest u.
class RandomRemasking : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
};

// Highest (1 - r) * (1 - p) + r * u, where p is the model's untempered probability (softmax over all its outputs) of
// the token in place. Source: the guide's "intelligent remasking", which takes p from a second forward on the filled
// text.
class SelfConfidenceRemasking : public RevealPolicy {
 public:
  // randomness: r in [0, 1].
  explicit SelfConfidenceRemasking(double randomness) : randomness_(randomness) {}
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }

 private:
  double randomness_;
};

// Highest (1 - r) * P(wrong) + r * u, P(wrong) from a two-class model of the filled text; in a turn that is not judged
// as SelfConfidenceRemasking. One forward of that model in the others.
class RemaskingModelRemasking : public RevealPolicy {
 public:
  // wrong_class: which of the two outputs means "wrong", 0 or 1. randomness: r in [0, 1].
  RemaskingModelRemasking(WatchedModel& model, int64_t wrong_class, double randomness)
      : model_(model), wrong_class_(wrong_class), randomness_(randomness) {}
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool judged) const override { return !judged; }
  bool has_own_model() const override { return true; }
  int64_t runs_before_recording() const override { return model_.runs_before_recording(); }

 private:
  WatchedModel& model_;
  int64_t wrong_class_;
  double randomness_;
};

}  // namespace demask
