// What stays visible after a step, and what is masked again: one small class a strategy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "demask/sampling/watched_model.h"

namespace demask {

// The text after drawing, before anything is masked again. All [B, T].
struct Proposal {
  at::Tensor tokens;         // int64, no masks left
  at::Tensor drawn;          // bool, drawn in this step
  at::Tensor probabilities;  // float32, under which each token was drawn; 1 where none was
};

// Which positions a policy may choose from, and how many it must choose.
struct RemaskBudget {
  at::Tensor eligible;  // [B, T] bool: free positions; a fixed one is never masked
  at::Tensor count;     // [B, 1] int64
};

class RevealPolicy {
 public:
  virtual ~RevealPolicy() = default;
  // bool [B, T]: the positions to mask again. noise: [B, T] uniform in (0, 1).
  virtual at::Tensor next_masked(const Proposal& proposal, const at::Tensor& noise, const RemaskBudget& budget) = 0;
  // How many forwards that costs, of whichever model.
  virtual int64_t forwards() const { return 0; }
  // How often it must run before it does the same work each time, so that it can be recorded.
  virtual int64_t runs_before_recording() const { return 1; }
};

// The `count` eligible positions with the highest scores [B, T], the lower position first among equals, as bool [B, T].
at::Tensor highest(const at::Tensor& scores, const RemaskBudget& budget);

// Highest u.
class RandomRemasking : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const at::Tensor& noise, const RemaskBudget& budget) override;
};

// Highest (1 - r) * (1 - p) + r * u, where p is the model's untempered probability (softmax over all its outputs) of
// the token in place, given the whole filled text. One forward. Source: the guide's "intelligent remasking".
class SelfConfidenceRemasking : public RevealPolicy {
 public:
  // randomness: r in [0, 1].
  SelfConfidenceRemasking(WatchedModel& model, double randomness) : model_(model), randomness_(randomness) {}
  at::Tensor next_masked(const Proposal& proposal, const at::Tensor& noise, const RemaskBudget& budget) override;
  int64_t forwards() const override { return 1; }
  int64_t runs_before_recording() const override { return model_.runs_before_recording(); }

 private:
  WatchedModel& model_;
  double randomness_;
};

// Highest (1 - r) * P(wrong) + r * u, P(wrong) from a two-class model of the filled text. One forward of that model.
class RemaskingModelRemasking : public RevealPolicy {
 public:
  // wrong_class: which of the two outputs means "wrong", 0 or 1. randomness: r in [0, 1].
  RemaskingModelRemasking(WatchedModel& model, int64_t wrong_class, double randomness)
      : model_(model), wrong_class_(wrong_class), randomness_(randomness) {}
  at::Tensor next_masked(const Proposal& proposal, const at::Tensor& noise, const RemaskBudget& budget) override;
  int64_t forwards() const override { return 1; }
  int64_t runs_before_recording() const override { return model_.runs_before_recording(); }

 private:
  WatchedModel& model_;
  int64_t wrong_class_;
  double randomness_;
};

}  // namespace demask
