// Strategy `confidence`: reveals the tokens drawn with the highest probability.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy confidence_strategy() {
  Strategy strategy;
  strategy.name = "confidence";
  strategy.summary = "reveals the tokens drawn with the highest probability";
  strategy.source = "LLaDA (Nie et al. 2025), its low-confidence remasking; alg_temp: Dream (Ye et al. 2025)";
  reveal_by_rank(strategy);
  strategy.parameters = {alg_temp_parameter()};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/strategies/ranked.h"

namespace demask {
namespace {

// The untempered probability of the drawn token.
class ConfidenceReveal : public RankedReveal {
 public:
  using RankedReveal::RankedReveal;

 private:
  at::Tensor certainty(const Proposal& proposal) const override {
    return token_probability(proposal.logits, proposal.tokens, proposal.broken);
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> confidence_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<ConfidenceReveal>(settings.parameters.number("alg_temp"));
}

}  // namespace demask
#endif
