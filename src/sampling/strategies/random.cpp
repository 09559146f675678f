// Strategy `random`: reveals positions by chance.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy random_strategy() {
  Strategy strategy;
  strategy.name = "random";
  strategy.summary = "reveals positions by chance";
  strategy.forwards = "N";
  strategy.source = "LLaDA (Nie et al. 2025), its random remasking";
  strategy.pacing = Pacing::reveals;
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/strategies/ranked.h"

namespace demask {
namespace {

class RandomReveal : public RevealPolicy {
 public:
  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    return lowest_drawn(turn.noise, proposal, turn);
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> random_policy(const DiffusionSettings& /*settings*/, CheckedModel* /*model*/) {
  return std::make_unique<RandomReveal>();
}

}  // namespace demask
#endif
