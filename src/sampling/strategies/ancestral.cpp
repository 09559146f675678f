#include "sampling/strategies/ancestral.h"

#include <ATen/ATen.h>

namespace demask {

at::Tensor AncestralReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor hidden_still = highest(turn.noise, {proposal.drawn, turn.budget.count - turn.remasked});
  const at::Tensor visible = turn.budget.eligible.logical_and(proposal.drawn.logical_not());
  return hidden_still.logical_or_(highest(turn.noise, {visible, turn.remasked}));
}

void ConfidentAncestralReveal::begin(const at::Tensor& tokens) {
  if (!psi_.defined() || psi_.sizes() != tokens.sizes()) {
    psi_ = at::empty_like(tokens, tokens.options().dtype(at::kFloat));
  }
  psi_.zero_();
}

at::Tensor ConfidentAncestralReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor visible = turn.budget.eligible.logical_and(proposal.drawn.logical_not());
  const at::Tensor weight = psi_.neg().exp_().mul_(visible);
  const at::Tensor share = weight / weight.sum(1, /*keepdim=*/true).clamp_min_(1e-30);
  const at::Tensor hidden_still = proposal.drawn.logical_and(turn.noise >= turn.reveal_chance);
  psi_.copy_(at::where(proposal.drawn, proposal.probabilities, psi_));
  return visible.logical_and_(turn.noise < share * turn.remask_chance).logical_or_(hidden_still);
}

}  // namespace demask
