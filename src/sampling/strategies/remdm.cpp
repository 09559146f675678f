// Strategy `remdm`: as `ancestral`, and masks visible tokens again with a chance of its own.
#include "sampling/remasking.h"
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

using Kind = Remasking::Kind;

Kind kind_of(const DiffusionSettings& settings) {
  return *value_named<Kind>(settings.parameters.text("remdm"));
}

}  // namespace
}  // namespace demask

#ifndef DEMASK_POLICIES
#include "core/error.h"

namespace demask {
namespace {

std::optional<ParameterValue> eta_of_kind(const DiffusionSettings& settings, const ParameterValue& usual) {
  switch (kind_of(settings)) {
    case Kind::rescale:
      return 0.05;
    case Kind::conf:
      return 1.0;
    case Kind::loop:
      return 0.02;
    default:
      return usual;
  }
}

std::optional<ParameterValue> in_loop(const DiffusionSettings& settings, const ParameterValue& usual) {
  return kind_of(settings) == Kind::loop ? std::optional(usual) : std::nullopt;
}

Remasking remasking_of(const DiffusionSettings& settings) {
  const ParameterValues& values = settings.parameters;
  Remasking remasking;
  remasking.kind = kind_of(settings);
  remasking.eta = values.number("eta");
  if (remasking.kind == Kind::loop) {
    remasking.t_on = values.number("t_on");
    remasking.t_off = values.number("t_off");
    remasking.alpha_on = values.number("alpha_on");
  }
  return remasking;
}

void check_remdm(const DiffusionSettings& settings) {
  const ParameterValues& values = settings.parameters;
  if (kind_of(settings) != Kind::loop) {
    if (values.has("t_on") || values.has("t_off") || values.has("alpha_on")) {
      fail(ExitCode::bad_usage, "t_on, t_off and alpha_on need remdm='loop', not '{}'.", values.text("remdm"));
    }
    return;
  }
  if (settings.schedule_type != ScheduleType::linear) {
    fail(ExitCode::bad_usage, "remdm='loop' has a schedule of its own: leave schedule_type='linear', not '{}'.",
         name_of(settings.schedule_type));
  }
  const Remasking loop = remasking_of(settings);
  if (!(0 < loop.t_off && loop.t_off < loop.t_on && loop.t_on < 1)) {
    fail(ExitCode::bad_usage, "t_on={}, t_off={}: time runs from 1 to 0, so 0 < t_off < t_on < 1.", loop.t_on,
         loop.t_off);
  }
  if (loop.alpha_on <= 0 || loop.alpha_on >= 1) {
    fail(ExitCode::bad_usage, "alpha_on={}: must be above 0 and below 1.", loop.alpha_on);
  }
}

}  // namespace

Strategy remdm_strategy() {
  Strategy strategy;
  strategy.name = "remdm";
  strategy.summary = "as `ancestral`, and masks visible tokens again with a chance of its own";
  strategy.forwards = "at most N";
  strategy.source = "ReMDM (Wang et al. 2025)";
  strategy.pacing = Pacing::follows_the_process;
  strategy.parameters = {
      {"remdm", std::string("cap"), Choices{"cap", "rescale", "conf", "loop"},
       "how the chance to mask a visible token again is set", "kind"},
      {"eta", 0.04, share, "that chance's size, at most 1", "", eta_of_kind},
      {"t_on", 0.55, share, "remdm=loop: the time, from 1 to 0, at which the loop begins", "", in_loop},
      {"t_off", 0.05, share, "remdm=loop: the time at which it ends", "", in_loop},
      {"alpha_on", 0.9, share, "remdm=loop: the share visible in it", "", in_loop}};
  strategy.variants = {{"remdm-cap", {"--remdm=cap"}},
                       {"remdm-rescale", {"--remdm=rescale"}},
                       {"remdm-conf", {"--remdm=conf"}},
                       {"remdm-loop", {"--remdm=loop"}}};
  strategy.check = check_remdm;
  strategy.remasking = remasking_of;
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/strategies/ancestral.h"

namespace demask {
namespace {

// The kind conf: a visible position is masked again with probability sigma * exp(-psi) / sum exp(-psi) over the
// visible, psi the probability under which its token was drawn; a masked one is revealed with the chance that the plan
// gives (section 4.1). The other kinds give every visible position the same chance, and so take AncestralReveal.
class ConfidentAncestralReveal : public RevealPolicy {
 public:
  void begin(const at::Tensor& tokens) override {
    if (!psi_.defined() || psi_.sizes() != tokens.sizes()) {
      psi_ = at::empty_like(tokens, tokens.options().dtype(at::kFloat));
    }
    psi_.zero_();
  }

  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    const at::Tensor visible = turn.budget.eligible.logical_and(proposal.drawn.logical_not());
    const at::Tensor weight = psi_.neg().exp_().mul_(visible);
    const at::Tensor part = weight / weight.sum(1, /*keepdim=*/true).clamp_min_(1e-30);
    const at::Tensor hidden_still = proposal.drawn.logical_and(turn.noise >= turn.reveal_chance);
    psi_.copy_(at::where(proposal.drawn, proposal.probabilities, psi_));
    return visible.logical_and_(turn.noise < part * turn.remask_chance).logical_or_(hidden_still);
  }

  bool decides_counts() const override { return true; }

 private:
  at::Tensor psi_;  // [B, T] float32
};

}  // namespace

std::unique_ptr<RevealPolicy> remdm_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  if (kind_of(settings) == Kind::conf) {
    return std::make_unique<ConfidentAncestralReveal>();
  }
  return std::make_unique<AncestralReveal>();
}

}  // namespace demask
#endif
