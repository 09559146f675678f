#include "sampling/strategies/ranked.h"

#include <ATen/ATen.h>

namespace demask {

at::Tensor RankedReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor score = certainty(proposal);
  return lowest_drawn(alg_temp_ > 0 ? score / alg_temp_ + gumbel(turn.noise) : score, proposal, turn);
}

at::Tensor lowest_drawn(const at::Tensor& scores, const Proposal& proposal, const Turn& turn) {
  return highest(scores.neg(), {proposal.drawn, turn.budget.count});
}

void reveal_by_rank(Strategy& strategy) {
  strategy.forwards = "N";
  strategy.pacing = Pacing::reveals;
  strategy.ranks_by_confidence = true;
}

Parameter alg_temp_parameter() {
  return {"alg_temp", 0.0, Range{0.0}, "noise in ranking by certainty; 0: none"};
}

Parameter choice_temperature_parameter(double value) {
  return {"choice_temperature", value, Range{0.0}, "noise on log confidence, annealed to none"};
}

}  // namespace demask
