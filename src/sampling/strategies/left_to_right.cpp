// Strategy `left_to_right`: reveals from left to right, as an autoregressive model writes.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy left_to_right_strategy() {
  Strategy strategy;
  strategy.name = "left_to_right";
  strategy.summary = "reveals from left to right, seeing what is given on the right as well";
  strategy.forwards = "N";
  strategy.source = "the order in which autoregressive models write; block_length=1 is the same, a position a step";
  strategy.pacing = Pacing::reveals;
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/strategies/ranked.h"

namespace demask {
namespace {

// The positions furthest to the right of those just drawn stay masked.
class LeftToRightReveal : public RevealPolicy {
 public:
  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    const at::Tensor from_the_left = at::arange(turn.noise.size(1), turn.noise.options()).neg_();
    return lowest_drawn(from_the_left.expand_as(turn.noise).contiguous(), proposal, turn);
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> left_to_right_policy(const DiffusionSettings& /*settings*/, CheckedModel* /*model*/) {
  return std::make_unique<LeftToRightReveal>();
}

}  // namespace demask
#endif
