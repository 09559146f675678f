// Strategy `klass`: reveals all tokens that are probable and whose distribution has stopped moving.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy klass_strategy() {
  Strategy strategy;
  strategy.name = "klass";
  strategy.summary = "reveals all tokens that are probable and whose distribution has stopped moving";
  strategy.source = "KLASS (Kim et al. 2025), algorithm 1";
  reveal_as_needed(strategy);
  strategy.parameters = {
      {"conf_threshold", 0.9, share, "reveal what is at least so probable and stable"},
      {"kl_threshold", 0.01, Range{0.0}, "stable: the distribution moves by less than this KL divergence, nats"},
      {"kl_history", int64_t{2}, count_from(1), "for so many steps in a row"}};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/strategies/adaptive.h"

namespace demask {
namespace {

// All whose drawn token has a probability of at least `conf_threshold` and whose distribution moved, from one step to
// the next, by a KL divergence (nats) below `kl_threshold` in each of the last `kl_history` steps; where there is none,
// the most probable. Remembers the last distributions [B, T, V]. What is stable is worked out by stability_certainty in
// adaptive.cpp, on CUDA by a kernel of cuda_measure.cu.
class KlassReveal : public AdaptiveReveal {
 public:
  explicit KlassReveal(const kernels::Stability& stability)
      : AdaptiveReveal({kernels::RevealKind::at_least, kernels::stable_above}), stability_(stability) {}

  void begin(const at::Tensor& tokens) override {
    if (!steady_.defined() || steady_.sizes() != tokens.sizes()) {
      steady_ = at::empty_like(tokens);
      previous_.reset();
    }
    steady_.fill_(-1);
  }

 private:
  // Of stable positions, kernels::stable_above more than all others.
  at::Tensor certainty(const Proposal& proposal) override {
    if (!previous_.defined()) {
      previous_ =
          at::empty_like(proposal.logits, proposal.logits.options().dtype(at::kFloat), at::MemoryFormat::Contiguous);
    }
    return stability_certainty(proposal.logits, proposal.tokens, stability_, previous_, steady_, proposal.broken);
  }

  kernels::Stability stability_;
  at::Tensor previous_;  // [B, T, V] float32, log probabilities of the step before
  at::Tensor steady_;    // [B, T] int64, steps in a row that moved little; -1 before the first
};

}  // namespace

std::unique_ptr<RevealPolicy> klass_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  const ParameterValues& values = settings.parameters;
  return std::make_unique<KlassReveal>(
      kernels::Stability{values.number("conf_threshold"), values.number("kl_threshold"), values.whole("kl_history")});
}

}  // namespace demask
#endif
