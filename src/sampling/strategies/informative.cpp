#include "sampling/strategies/informative.h"

#include <ATen/ATen.h>

#include "sampling/confidence.h"

namespace demask {
namespace {

// What is rarer than this share of an even distribution gains nothing more by its rarity.
constexpr double least_share = 0.01;
// Nor does what is all but certain from the start count for more than so many times its doubt.
constexpr double most_weight = 4;

}  // namespace

void InformativeRemasking::look_at_start(const at::Tensor& logits, const at::Tensor& eligible) {
  const at::Tensor counted = eligible.unsqueeze(2).to(at::kFloat);
  const at::Tensor prior = (at::softmax(logits.to(at::kFloat), -1) * counted).sum(1) / counted.sum(1).clamp_min(1);
  const at::Tensor surprise = prior.clamp_min(least_share / static_cast<double>(logits.size(2))).log().neg_();
  const at::Tensor entropy = (prior * surprise).sum(1, /*keepdim=*/true);
  const at::Tensor weight = (entropy / surprise).pow(options_.prior_weight).clamp_max_(most_weight);
  if (weight_.defined() && weight_.sizes() == weight.sizes()) {
    weight_.copy_(weight);  // where a recorded step finds it
  } else {
    weight_ = weight;
  }
}

at::Tensor InformativeRemasking::next_masked(const Proposal& proposal, const Turn& turn) {
  at::Tensor doubt = token_log_probability(proposal.logits, proposal.tokens, proposal.broken).neg();
  if (options_.prior_weight != 0) {
    doubt = doubt * weight_.gather(1, proposal.tokens);
  }
  if (options_.new_token_bonus != 0) {
    doubt = doubt.sub(proposal.drawn.to(at::kFloat), options_.new_token_bonus);
  }
  if (options_.choice_temperature != 0) {
    doubt = doubt.sub(gumbel(turn.noise) * (1 - turn.progress), options_.choice_temperature);
  }
  return highest(doubt, turn.budget);
}

}  // namespace demask
