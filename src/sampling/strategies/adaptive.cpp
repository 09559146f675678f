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

// 1 .. T as [1, T]
at::Tensor ranks(const at::Tensor& scores) {
  return at::arange(1, scores.size(1) + 1, scores.options().dtype(at::kLong)).unsqueeze(0);
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
  const at::Tensor sorted =
      std::get<0>(at::where(proposal.drawn, p, at::full_like(p, -std::numeric_limits<double>::infinity()))
                      .sort(/*dim=*/1, /*descending=*/true));
  // The left side grows with n, so those that fulfil it are the first.
  return {p, count((ranks(p) + 1) * (1 - sorted) < factor_)};
}

AdaptiveReveal::Choice EntropyBoundReveal::choose(const Proposal& proposal) {
  const at::Tensor entropy = measure_certainty(proposal.logits, proposal.tokens, proposal.broken).entropy;
  const at::Tensor sorted = std::get<0>(entropy.masked_fill(proposal.drawn.logical_not(), 0).sort(/*dim=*/1));
  // Those not drawn stand first, as zeros that add nothing. The largest of a sorted beginning is its last.
  const at::Tensor within = sorted.cumsum(1) - sorted <= gamma_;
  const at::Tensor drawn = count(proposal.drawn);
  const at::Tensor among_drawn = ranks(entropy) > sorted.size(1) - drawn;
  return {entropy.neg(), count(within.logical_and(among_drawn))};
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
  const at::Tensor now = at::log_softmax(proposal.logits.to(at::kFloat), -1).clamp_min_(lowest_log_probability);
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
