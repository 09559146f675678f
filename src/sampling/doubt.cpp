#include "sampling/doubt.h"

#include <ATen/ATen.h>

#include "kernels/cuda.h"
#include "sampling/reveal_policy.h"
#include "sampling/words.h"

namespace demask {

using kernels::DoubtRule;
using kernels::DoubtTerms;

namespace {

// [B, T] float32: the Gumbel noise of each position, as far as it has it in common with its word
at::Tensor noise_of(const DoubtTerms& terms, const DoubtRule& rule, const WordEdges& edges, const at::Tensor& shown) {
  const at::Tensor own = gumbel(terms.noise);
  if (rule.noise_share == 0 || !edges.defined()) {
    return own;
  }
  return own.lerp(highest_of_word(own.neg(), terms.tokens, shown, edges).neg_(), rule.noise_share);
}

// [B, 1] float32
at::Tensor noise_weight(const DoubtTerms& terms) {
  const at::Tensor& scale = terms.noise_scale;
  return (terms.vocabulary_noise.defined() ? at::hypot(scale, terms.vocabulary_noise) : scale) * terms.noise_left;
}

}  // namespace

at::Tensor doubt(const DoubtTerms& terms, const DoubtRule& rule) {
  if (kernels::cuda::has_kernels_for(terms.log_probability)) {
    return kernels::cuda::doubt(terms, rule);
  }
  at::Tensor doubt = terms.log_probability.neg();
  if (terms.weight.defined()) {
    doubt = doubt * terms.weight.gather(1, terms.tokens);
  }
  const WordEdges edges = {terms.begins_within, terms.ends_within};
  const at::Tensor shown =
      terms.waiting.defined() ? terms.eligible.logical_and(terms.waiting.logical_not()) : terms.eligible;
  if (rule.word_share != 0 && edges.defined()) {
    doubt = doubt.lerp(highest_of_word(doubt, terms.tokens, shown, edges), rule.word_share);
  }
  if (rule.new_token_bonus != 0) {
    doubt = doubt.sub(terms.drawn.to(at::kFloat), rule.new_token_bonus);
  }
  if (rule.choice_temperature != 0) {
    doubt = doubt.sub(noise_of(terms, rule, edges, shown) * noise_weight(terms), rule.choice_temperature);
  }
  return terms.waiting.defined() ? doubt.masked_fill(terms.waiting, kernels::last_masked) : doubt;
}

}  // namespace demask
