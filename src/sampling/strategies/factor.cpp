// Strategy `factor`: reveals the n most probable while (n + 1) * (1 - probability) stays below a bound.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy factor_strategy() {
  Strategy strategy;
  strategy.name = "factor";
  strategy.summary = "reveals the n most probable while (n + 1) * (1 - probability) stays below a bound";
  strategy.source = "Fast-dLLM (Wu et al. 2025), its factor-based parallel decoding";
  reveal_as_needed(strategy);
  strategy.parameters = {{"factor", 1.0, Range{0.0}, "reveal n while (n + 1) * (1 - confidence) stays below"}};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/strategies/adaptive.h"

namespace demask {
namespace {

// With probabilities c(1) >= c(2) >= ..., the largest n for which (n + 1) * (1 - c(n)) < factor.
class FactorReveal : public AdaptiveReveal {
 public:
  explicit FactorReveal(double factor) : AdaptiveReveal({kernels::RevealKind::factor, factor}) {}

 private:
  at::Tensor certainty(const Proposal& proposal) override {
    return token_probability(proposal.logits, proposal.tokens, proposal.broken);
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> factor_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<FactorReveal>(settings.parameters.number("factor"));
}

}  // namespace demask
#endif
