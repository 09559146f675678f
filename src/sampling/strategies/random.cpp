// Strategy `random`: reveals positions by chance.
#include <ATen/ATen.h>

#include "sampling/strategies/ranked.h"

namespace demask {
namespace {

class RandomReveal : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override {
    return lowest_drawn(turn.noise, proposal, turn);
  }
};

}  // namespace

Strategy random_strategy() {
  Strategy strategy;
  strategy.name = "random";
  strategy.summary = "reveals positions by chance";
  strategy.forwards = "N";
  strategy.source = "LLaDA (Nie et al. 2025), its random remasking";
  strategy.pacing = Pacing::reveals;
  strategy.make_policy = [](const DiffusionSettings& /*settings*/,
                            CheckedModel* /*model*/) -> std::unique_ptr<RevealPolicy> {
    return std::make_unique<RandomReveal>();
  };
  return strategy;
}

}  // namespace demask
