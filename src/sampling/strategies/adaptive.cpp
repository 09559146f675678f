#include "demask/sampling/strategies/adaptive.h"

#include <ATen/ATen.h>

#include <limits>

#include "demask/sampling/confidence.h"

namespace demask {
namespace {

// Stands for minus infinity where a product with zero must stay zero.
constexpr double lowest_log_probability = -1e4;

at::Tensor count(const at::Tensor& marked) {
  return marked.sum(1, /*keepdim=*/true);
}

}  // namespace

at::Tensor AdaptiveReveal::next_masked(const Proposal& proposal, const Turn& turn) {
  const Choice choice = choose(proposal);
  const at::Tensor reveals = turn.least.defined() ? at::minimum(at::maximum(choice.reveals, turn.least), turn.most)
                                                  : choice.reveals.clamp_min(1);
  return highest(choice.certainty.neg(), {proposal.drawn, (count(proposal.drawn) - reveals).clamp_min_(0)});
}

AdaptiveReveal::Choice ThresholdReveal::choose(const Proposal& proposal) {
  const at::Tensor p = token_probability(proposal.logits, proposal.tokens, proposal.broken);
  return {p, count((p >= threshold_).logical_and_(proposal.drawn))};
}

AdaptiveReveal::Choice FactorReveal::choose(const Proposal& proposal) {
  const at::Tensor p = token_probability(proposal.logits, proposal.tokens, proposal.broken);
  // What was not drawn comes last, where nothing fulfils the condition any more.
  const at::Tensor doubts = std::get<0>(
      (1 - p).masked_fill_(proposal.drawn.logical_not(), std::numeric_limits<double>::infinity()).sort(/*dim=*/1));
  // The left side grows with n, so those that fulfil it are the first.
  const at::Tensor one_more = at::arange(2, doubts.size(1) + 2, doubts.options());
  return {p, count(doubts * one_more < factor_)};
}

AdaptiveReveal::Choice EntropyBoundReveal::choose(const Proposal& proposal) {
  const at::Tensor entropy = measure_certainty(proposal.logits, proposal.tokens, proposal.broken).entropy;
  // Those not drawn stand first, as zeros that add nothing, and are all within. The largest of a sorted beginning is
  // its last.
  const at::Tensor not_drawn = proposal.drawn.logical_not();
  const at::Tensor sorted = std::get<0>(entropy.masked_fill(not_drawn, 0).sort(/*dim=*/1));
  return {entropy.neg(), count(sorted.cumsum(1) - sorted <= gamma_) - count(not_drawn)};
}

void KlassReveal::begin(const at::Tensor& tokens) {
  if (!steady_.defined() || steady_.sizes() != tokens.sizes()) {
    steady_ = at::empty_like(tokens);
    previous_.reset();
  }
  steady_.zero_();
  if (previous_.defined()) {
    previous_.fill_(lowest_log_probability);
  }
}

AdaptiveReveal::Choice KlassReveal::choose(const Proposal& proposal) {
  const at::Tensor now = at::log_softmax(proposal.logits, -1, at::kFloat).clamp_min_(lowest_log_probability);
  if (!previous_.defined()) {
    previous_ = at::full_like(now, lowest_log_probability);
  }
  const at::Tensor divergence = (now.exp() * (now - previous_)).sum(-1);
  previous_.copy_(now);
  steady_.add_(1).mul_(divergence < kl_threshold_);
  const at::Tensor p = token_probability(proposal.logits, proposal.tokens, proposal.broken);
  const at::Tensor stable = (steady_ >= kl_history_).logical_and_(p >= conf_threshold_).logical_and_(proposal.drawn);
  // The stable ones before all others.
  return {p + 2 * stable, count(stable)};
}

}  // namespace demask
