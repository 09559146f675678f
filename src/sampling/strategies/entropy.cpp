// Strategy `entropy`: reveals where the distribution has the lowest entropy.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy entropy_strategy() {
  Strategy strategy;
  strategy.name = "entropy";
  strategy.summary = "reveals where the distribution has the lowest entropy";
  strategy.source = "Dream (Ye et al. 2025), its entropy and alg_temp";
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

// Minus the entropy, so that the least uncertain come first.
class EntropyReveal : public RankedReveal {
 public:
  using RankedReveal::RankedReveal;

 private:
  at::Tensor certainty(const Proposal& proposal) const override {
    return measure_certainty(proposal.logits, proposal.tokens, proposal.broken).entropy.neg();
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> entropy_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<EntropyReveal>(settings.parameters.number("alg_temp"));
}

}  // namespace demask
#endif
