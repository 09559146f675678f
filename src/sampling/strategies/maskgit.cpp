// Strategy `maskgit`: reveals the most confident under noise that fades out, on a cosine schedule.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/descriptions.h"

namespace demask {

Strategy maskgit_strategy() {
  Strategy strategy;
  strategy.name = "maskgit";
  strategy.summary = "as `confidence`, with noise that fades out";
  strategy.source = "MaskGIT (Chang et al. 2022), whose code takes a choice_temperature of 4.5";
  reveal_by_rank(strategy);
  strategy.schedule = ScheduleType::cosine;
  strategy.parameters = {choice_temperature_parameter(4.5)};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/strategies/ranked.h"

namespace demask {
namespace {

// Highest log p + choice_temperature * (1 - progress) * Gumbel noise.
class MaskGitReveal : public RevealPolicy {
 public:
  explicit MaskGitReveal(double choice_temperature) : choice_temperature_(choice_temperature) {}
  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    const at::Tensor log_probability = token_log_probability(proposal.logits, proposal.tokens, proposal.broken);
    const at::Tensor noise = gumbel(turn.noise) * ((1 - turn.progress) * choice_temperature_);
    return lowest_drawn(log_probability + noise, proposal, turn);
  }
  bool reads_logits(bool /*judged*/) const override { return true; }

 private:
  double choice_temperature_;
};

}  // namespace

std::unique_ptr<RevealPolicy> maskgit_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  return std::make_unique<MaskGitReveal>(settings.parameters.number("choice_temperature"));
}

}  // namespace demask
#endif
