#include "sampling/strategies/ranked.h"

#include <ATen/ATen.h>

#include "sampling/confidence.h"

namespace demask {
namespace {

// Of the positions just drawn, those with the lowest scores stay masked.
at::Tensor lowest(const at::Tensor& scores, const Proposal& proposal, const Turn& turn) {
  return highest(scores.neg(), {proposal.drawn, turn.budget.count});
}

}  // namespace

at::Tensor RankedReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor score = certainty(proposal);
  return lowest(alg_temp_ > 0 ? score / alg_temp_ + gumbel(turn.noise) : score, proposal, turn);
}

at::Tensor ConfidenceReveal::certainty(const Proposal& proposal) const {
  return token_probability(proposal.logits, proposal.tokens, proposal.broken);
}

at::Tensor MarginReveal::certainty(const Proposal& proposal) const {
  return measure_certainty(proposal.logits, proposal.tokens, proposal.broken).margin;
}

at::Tensor EntropyReveal::certainty(const Proposal& proposal) const {
  return measure_certainty(proposal.logits, proposal.tokens, proposal.broken).entropy.neg();
}

at::Tensor RandomReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  return lowest(turn.noise, proposal, turn);
}

at::Tensor MaskGitReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor log_probability = token_log_probability(proposal.logits, proposal.tokens, proposal.broken);
  return lowest(log_probability + gumbel(turn.noise) * ((1 - turn.progress) * choice_temperature_), proposal, turn);
}

}  // namespace demask
