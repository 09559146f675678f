// Strategy `threshold`: reveals all tokens of at least this probability.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy threshold_strategy() {
  Strategy strategy;
  strategy.name = "threshold";
  strategy.summary = "reveals all tokens of at least this probability";
  strategy.source = "Fast-dLLM (Wu et al. 2025), section 3.3";
  reveal_as_needed(strategy);
  strategy.parameters = {{"threshold", 0.9, share, "reveal what is at least so probable"}};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/strategies/adaptive.h"

namespace demask {
namespace {

// All whose drawn token has a probability of at least `threshold`.
class ThresholdReveal : public AdaptiveReveal {
 public:
  explicit ThresholdReveal(double threshold) : AdaptiveReveal({kernels::RevealKind::at_least, threshold}) {}

 private:
  at::Tensor certainty(const Proposal& proposal) override {
    return token_probability(proposal.logits, proposal.tokens, proposal.broken);
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> threshold_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<ThresholdReveal>(settings.parameters.number("threshold"));
}

}  // namespace demask
#endif
