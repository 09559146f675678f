// Strategy `entropy_bound`: reveals while the entropies of what is revealed, but for the largest, sum up to no more
// than a bound.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy entropy_bound_strategy() {
  Strategy strategy;
  strategy.name = "entropy_bound";
  strategy.summary =
      "reveals while the entropies of what is revealed, but for the largest, sum up to no more than a bound";
  strategy.source = "EB-Sampler (Ben-Hamu et al. 2025), with entropy as the error proxy";
  reveal_as_needed(strategy);
  strategy.parameters = {{"gamma", 0.1, Range{0.0}, "bound on the summed entropies of what is revealed, nats"}};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/strategies/adaptive.h"

namespace demask {
namespace {

// With entropies H(1) <= H(2) <= ... in nats, the largest n for which H(1) + ... + H(n) - max H(i) <= gamma.
class EntropyBoundReveal : public AdaptiveReveal {
 public:
  explicit EntropyBoundReveal(double gamma) : AdaptiveReveal({kernels::RevealKind::entropy_sum, gamma}) {}

 private:
  at::Tensor certainty(const Proposal& proposal) override {
    return measure_certainty(proposal.logits, proposal.tokens, proposal.broken).entropy.neg();
  }
};

}  // namespace

std::unique_ptr<RevealPolicy> entropy_bound_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<EntropyBoundReveal>(settings.parameters.number("gamma"));
}

}  // namespace demask
#endif
