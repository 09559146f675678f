#include "sampling/reveal_policy.h"

#include <ATen/ATen.h>

#include <limits>

#include "kernels/cuda.h"

namespace demask {

at::Tensor Choice::masked() const {
  if (!ranked_) {
    return masked_;
  }
  const auto& [given, eligible, count, takes_lowest] = *ranked_;
  if (kernels::cuda::has_kernels_for(given)) {
    return kernels::cuda::highest(*ranked_);
  }
  const at::Tensor scores = takes_lowest ? given.neg() : given;
  const at::Tensor candidates = scores.masked_fill(eligible.logical_not(), -std::numeric_limits<double>::infinity());
  // A stable sort leaves the lower position first among equals. Its inverse permutation is each position's rank.
  const at::Tensor order = std::get<1>(at::sort(candidates, /*stable=*/true, /*dim=*/1, /*descending=*/true));
  const at::Tensor chosen_in_order = at::arange(scores.size(1), order.options()).unsqueeze(0) < count;
  const at::Tensor chosen = at::zeros_like(eligible).scatter_(1, order, chosen_in_order);
  return chosen.logical_and(eligible);
}

Choice highest(const at::Tensor& scores, const RemaskBudget& budget) {
  return Choice({scores, budget.eligible, budget.count, /*lowest=*/false});
}

Choice lowest(const at::Tensor& scores, const RemaskBudget& budget) {
  return Choice({scores, budget.eligible, budget.count, /*lowest=*/true});
}

kernels::cuda::Parted spread(const at::Tensor& from, const at::Tensor& share, const at::Tensor& offset) {
  if (kernels::cuda::has_kernels_for(share)) {
    return kernels::cuda::spread(from, share, offset);
  }
  const at::Tensor wide = share.to(at::kDouble);  // doubles, so that every device rounds alike
  const at::Tensor ends = from.cumsum(1, at::kLong).to(at::kDouble).mul_(wide).add_(offset.to(at::kDouble));
  const at::Tensor taken = ends.floor() > (ends - wide).floor();
  return {from.logical_and(taken), from.logical_and(taken.logical_not())};
}

at::Tensor gumbel(const at::Tensor& uniforms) {
  return uniforms.log().neg_().log_().neg_();
}

}  // namespace demask
