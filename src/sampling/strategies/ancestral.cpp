// Strategy `ancestral`: draws how many positions each step reveals, as the reverse process does.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/strategy.h"

namespace demask {

Strategy ancestral_strategy() {
  Strategy strategy;
  strategy.name = "ancestral";
  strategy.summary = "reveals each position with the chance that the reverse process gives";
  strategy.forwards = "at most N";
  strategy.source = "MDLM (Sahoo et al. 2024)";
  strategy.pacing = Pacing::follows_the_process;
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/strategies/ancestral.h"
#include "sampling/strategies/strategy.h"

namespace demask {

Choice AncestralReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor hidden_still = highest(turn.noise, {proposal.drawn, turn.budget.count - turn.remasked}).masked();
  const at::Tensor visible = turn.budget.eligible.logical_and(proposal.drawn.logical_not());
  return hidden_still.logical_or_(highest(turn.noise, {visible, turn.remasked}).masked());
}

std::unique_ptr<RevealPolicy> ancestral_policy(const DiffusionSettings& /*settings*/, CheckedModel* /*model*/) {
  return std::make_unique<AncestralReveal>();
}

}  // namespace demask
#endif
