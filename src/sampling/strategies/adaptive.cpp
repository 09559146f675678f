#include "sampling/strategies/adaptive.h"

#include <ATen/ATen.h>

#include <limits>

#include "sampling/confidence.h"

namespace demask {
namespace {

using kernels::RevealRule;

// Stands for minus infinity where a product with zero must stay zero.
constexpr double lowest_log_probability = -1e4;
constexpr double stable_bonus = 2;  // above every probability

at::Tensor count(const at::Tensor& marked) {
  return marked.sum(1, /*keepdim=*/true);
}

// [B, 1]: how many the rule reveals.
at::Tensor count_by(RevealRule rule, double bound, const at::Tensor& certainty, const at::Tensor& drawn) {
  if (rule == RevealRule::at_least) {
    return count((certainty >= bound).logical_and_(drawn));
  }
  const at::Tensor not_drawn = drawn.logical_not();
  if (rule == RevealRule::factor) {
    // What was not drawn comes last, where nothing fulfils the condition any more.
    const at::Tensor doubts =
        std::get<0>((1 - certainty).masked_fill_(not_drawn, std::numeric_limits<double>::infinity()).sort(/*dim=*/1));
    // The left side grows with n, so those that fulfil it are the first.
    return count(doubts * at::arange(2, doubts.size(1) + 2, doubts.options()) < bound);
  }
  // Those not drawn stand first, as zeros that add nothing, and are all within. The largest of a sorted beginning is
  // its last.
  const at::Tensor entropies = std::get<0>(certainty.neg().masked_fill_(not_drawn, 0).sort(/*dim=*/1));
  return count(entropies.cumsum(1) - entropies <= bound) - count(not_drawn);
}

}  // namespace

at::Tensor reveal_most_certain(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                               RevealRule rule, double bound) {
  if (kernels::usable(certainty) && kernels::suit_reveal(certainty.size(1))) {
    return kernels::reveal(certainty, drawn, steps_left, rule, bound);
  }
  at::Tensor reveals = count_by(rule, bound, certainty, drawn);
  const at::Tensor remaining = count(drawn);
  if (steps_left.defined()) {
    const at::Tensor even_part = (remaining + steps_left).div(steps_left + 1, "floor");
    reveals = at::minimum(at::maximum(reveals, even_part), remaining - steps_left).clamp_min_(0);
  } else {
    reveals.clamp_min_(1);
  }
  return highest(certainty.neg(), {drawn, (remaining - reveals).clamp_min_(0)});
}

at::Tensor ThresholdReveal::certainty(const Proposal& proposal) {
  return token_probability(proposal.logits, proposal.tokens, proposal.broken);
}

at::Tensor FactorReveal::certainty(const Proposal& proposal) {
  return token_probability(proposal.logits, proposal.tokens, proposal.broken);
}

at::Tensor EntropyBoundReveal::certainty(const Proposal& proposal) {
  return measure_certainty(proposal.logits, proposal.tokens, proposal.broken).entropy.neg();
}

KlassReveal::KlassReveal(double conf_threshold, double kl_threshold, int64_t kl_history)
    : AdaptiveReveal(RevealRule::at_least, stable_bonus), stability_{conf_threshold, kl_threshold, kl_history} {}

void KlassReveal::begin(const at::Tensor& tokens) {
  if (!steady_.defined() || steady_.sizes() != tokens.sizes()) {
    steady_ = at::empty_like(tokens);
    previous_.reset();
  }
  steady_.fill_(-1);
}

at::Tensor KlassReveal::certainty(const Proposal& proposal) {
  if (!previous_.defined()) {
    previous_ =
        at::empty_like(proposal.logits, proposal.logits.options().dtype(at::kFloat), at::MemoryFormat::Contiguous);
  }
  return stability_certainty(proposal.logits, proposal.tokens, stability_, previous_, steady_, proposal.broken);
}

at::Tensor stability_certainty(const at::Tensor& logits, const at::Tensor& tokens, const kernels::Stability& stability,
                               const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    return kernels::stable_probability(logits, tokens, stability, previous, steady, broken);
  }
  const at::Tensor now = at::log_softmax(logits, -1, at::kFloat).clamp_min_(lowest_log_probability);
  const at::Tensor divergence = (now.exp() * (now - previous)).sum(-1);
  previous.copy_(now);
  steady.add_(1).mul_(divergence < stability.divergence);
  const at::Tensor p = token_probability(logits, tokens, broken);
  const at::Tensor stable = (steady >= stability.history).logical_and_(p >= stability.probability);
  return p + stable_bonus * stable;
}

}  // namespace demask
