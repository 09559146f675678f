#include "sampling/strategies/adaptive.h"

#include <ATen/ATen.h>

#include <limits>

#include "kernels/cuda.h"
#include "sampling/confidence.h"

namespace demask {
namespace {

using kernels::RevealKind;
using kernels::RevealRule;

at::Tensor count(const at::Tensor& marked) {
  return marked.sum(1, /*keepdim=*/true);
}

// [B, 1]: how many the rule reveals.
at::Tensor count_by(const RevealRule& rule, const at::Tensor& certainty, const at::Tensor& drawn) {
  if (rule.kind == RevealKind::at_least) {
    return count((certainty >= rule.bound).logical_and_(drawn));
  }
  const at::Tensor not_drawn = drawn.logical_not();
  if (rule.kind == RevealKind::factor) {
    // What was not drawn comes last, where nothing fulfils the condition any more.
    const at::Tensor doubts =
        std::get<0>((1 - certainty).masked_fill_(not_drawn, std::numeric_limits<double>::infinity()).sort(/*dim=*/1));
    // The left side grows with n, so those that fulfil it are the first.
    return count(doubts * at::arange(2, doubts.size(1) + 2, doubts.options()) < rule.bound);
  }
  // Those not drawn stand first, as zeros that add nothing, and are all within. The largest of a sorted beginning is
  // its last.
  const at::Tensor entropies = std::get<0>(certainty.neg().masked_fill_(not_drawn, 0).sort(/*dim=*/1));
  return count(entropies.cumsum(1) - entropies <= rule.bound) - count(not_drawn);
}

}  // namespace

at::Tensor reveal_most_certain(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                               const RevealRule& rule) {
  if (kernels::cuda::has_reveal_kernel_for(certainty)) {
    return kernels::cuda::reveal(certainty, drawn, steps_left, rule);
  }
  at::Tensor reveals = count_by(rule, certainty, drawn);
  const at::Tensor remaining = count(drawn);
  if (steps_left.defined()) {
    const at::Tensor even_part = (remaining + steps_left).div(steps_left + 1, "floor");
    reveals = at::minimum(at::maximum(reveals, even_part), remaining - steps_left).clamp_min_(0);
  } else {
    reveals.clamp_min_(1);
  }
  return lowest(certainty, {drawn, (remaining - reveals).clamp_min_(0)}).masked();
}

at::Tensor stability_certainty(const at::Tensor& logits, const at::Tensor& tokens, const kernels::Stability& stability,
                               const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken) {
  if (kernels::cuda::has_kernels_for(logits)) {
    return kernels::cuda::stable_probability(logits, tokens, stability, previous, steady, broken);
  }
  const at::Tensor now =
      at::log_softmax(logits, -1, at::kFloat).clamp_min_(static_cast<double>(kernels::lowest_log_probability));
  const at::Tensor divergence = (now.exp() * (now - previous)).sum(-1);
  previous.copy_(now);
  steady.add_(1).mul_(divergence < stability.divergence);
  const at::Tensor p = token_probability(logits, tokens, broken);
  const at::Tensor stable = (steady >= stability.history).logical_and_(p >= stability.probability);
  return p + static_cast<double>(kernels::stable_above) * stable;
}

}  // namespace demask
