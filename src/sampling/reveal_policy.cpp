#include "demask/sampling/reveal_policy.h"

#include <ATen/ATen.h>

#include <limits>

#include "demask/kernels/kernels.h"
#include "demask/sampling/confidence.h"

namespace demask {
namespace {

at::Tensor blend(const at::Tensor& doubt, const at::Tensor& noise, double randomness) {
  return doubt * (1 - randomness) + noise * randomness;
}

}  // namespace

at::Tensor highest(const at::Tensor& scores, const RemaskBudget& budget) {
  if (kernels::usable(scores)) {
    return kernels::highest(scores, budget.eligible, budget.count);
  }
  const at::Tensor candidates =
      scores.masked_fill(budget.eligible.logical_not(), -std::numeric_limits<double>::infinity());
  // A stable sort leaves the lower position first among equals. Its inverse permutation is each position's rank.
  const at::Tensor order = std::get<1>(at::sort(candidates, /*stable=*/true, /*dim=*/1, /*descending=*/true));
  const at::Tensor chosen_in_order = at::arange(scores.size(1), order.options()).unsqueeze(0) < budget.count;
  const at::Tensor chosen = at::zeros_like(budget.eligible).scatter_(1, order, chosen_in_order);
  return chosen.logical_and(budget.eligible);
}

at::Tensor RandomRemasking::next_masked(const Proposal& /*proposal*/, const at::Tensor& noise,
                                        const RemaskBudget& budget) {
  return highest(noise, budget);
}

at::Tensor SelfConfidenceRemasking::next_masked(const Proposal& proposal, const at::Tensor& noise,
                                                const RemaskBudget& budget) {
  const at::Tensor confidence = token_probability(model_.logits(proposal.tokens), proposal.tokens, model_.broken());
  return highest(blend(1 - confidence, noise, randomness_), budget);
}

at::Tensor RemaskingModelRemasking::next_masked(const Proposal& proposal, const at::Tensor& noise,
                                                const RemaskBudget& budget) {
  const at::Tensor wrong = class_probability(model_.logits(proposal.tokens), wrong_class_, model_.broken());
  return highest(blend(wrong, noise, randomness_), budget);
}

}  // namespace demask
