#include "sampling/strategies/ranked.h"

#include <ATen/ATen.h>

namespace demask {

Choice RankedReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor score = certainty(proposal);
  return lowest_drawn(alg_temp_ > 0 ? score / alg_temp_ + gumbel(turn.noise) : score, proposal, turn);
}

Choice lowest_drawn(const at::Tensor& scores, const Proposal& proposal, const Turn& turn) {
  return lowest(scores, {proposal.drawn, turn.budget.count});
}

}  // namespace demask
