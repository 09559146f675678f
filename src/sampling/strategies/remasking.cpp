#include "sampling/strategies/remasking.h"

#include <ATen/ATen.h>

#include "sampling/confidence.h"

namespace demask {
namespace {

at::Tensor blend(const at::Tensor& doubt, const at::Tensor& noise, double randomness) {
  return doubt * (1 - randomness) + noise * randomness;
}

at::Tensor own_doubt(const Proposal& proposal) {
  return 1 - token_probability(proposal.logits, proposal.tokens, proposal.broken);
}

}  // namespace

at::Tensor RandomRemasking::next_masked(const Proposal& /*proposal*/, const Turn& turn) {
  return highest(turn.noise, turn.budget);
}

at::Tensor SelfConfidenceRemasking::next_masked(const Proposal& proposal, const Turn& turn) {
  return highest(blend(own_doubt(proposal), turn.noise, randomness_), turn.budget);
}

at::Tensor RemaskingModelRemasking::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor doubt = turn.judged
                               ? class_probability(model_.logits(proposal.tokens), wrong_class_, model_.broken())
                               : own_doubt(proposal);
  if (turn.right != nullptr && turn.judged) {
    *turn.right = 1 - doubt;
  }
  return highest(blend(doubt, turn.noise, randomness_), turn.budget);
}

}  // namespace demask
