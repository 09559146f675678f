#include "sampling/strategies/planner.h"

#include <ATen/ATen.h>

#include "sampling/confidence.h"

namespace demask {

at::Tensor PlannerReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const at::Tensor own = token_log_probability(proposal.logits, proposal.tokens, proposal.broken);
  at::Tensor kept = own;
  if (model_ != nullptr && turn.judged) {
    const at::Tensor right = class_probability(model_->logits(proposal.tokens), right_class_, model_->broken());
    if (turn.right != nullptr) {
      *turn.right = right;
    }
    kept = right.log();
  }
  // 0 * -infinity is no number, and an impossible token that is kept must rank last unless eta is 0.
  const at::Tensor planned = eta_ == 0 ? at::zeros_like(kept) : kept * eta_;
  return highest(at::where(proposal.drawn, own, planned).neg_(), turn.budget);
}

}  // namespace demask
