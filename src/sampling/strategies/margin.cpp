// Strategy `margin`: reveals where the likeliest token is furthest ahead of the second.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy margin_strategy() {
  Strategy strategy;
  strategy.name = "margin";
  strategy.summary = "reveals where the likeliest token is furthest ahead of the second";
  strategy.source = "Kim et al. 2025; Dream (Ye et al. 2025), its topk_margin and alg_temp";
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

// The difference of the two highest probabilities.
class MarginReveal : public RankedReveal {
 public:
  using RankedReveal::RankedReveal;

 private:
  at::Tensor certainty(const Proposal& proposal) const override {
    return measure_certainty(proposal.logits, proposal.tokens, proposal.broken).margin;
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> margin_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<MarginReveal>(settings.parameters.number("alg_temp"));
}

}  // namespace demask
#endif
