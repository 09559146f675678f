// Strategy `planner`: which tokens stay is planned over all free positions, kept ones included. One forward a step, and
// with a remasking model or confidence_source=rescore two but for the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "sampling/reveal_policy.h"

namespace demask {

// Keeps the highest scores: log p of the token where one was just drawn, eta * log q where one was kept. q is p too, or
// in judged turns a remasking model's probability that the token is right. eta 0 keeps what was revealed; above 1, more
// comes back than went. Source: P2 (Peng et al. 2025), self-planning and planning by a trained model.
class PlannerReveal : public RevealPolicy {
 public:
  explicit PlannerReveal(double eta) : eta_(eta) {}
  // right_class: which of the two outputs of `model` means "right".
  PlannerReveal(double eta, WatchedModel& model, int64_t right_class)
      : eta_(eta), model_(&model), right_class_(right_class) {}
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool reads_logits(bool /*judged*/) const override { return true; }
  bool has_own_model() const override { return model_ != nullptr; }
  int64_t runs_before_recording() const override { return model_ == nullptr ? 1 : model_->runs_before_recording(); }

 private:
  double eta_;
  WatchedModel* model_ = nullptr;
  int64_t right_class_ = 0;
};

}  // namespace demask
