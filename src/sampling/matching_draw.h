// The draw of a diffusion step whose texts are to match patterns: all masked positions of a text together.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/pattern_tensors.h"
#include "pattern/completions.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/reveal_policy.h"
#include "sampling/token_draw.h"

namespace demask {

// The text as a pattern reads it; masked [T]: on the host, where its tokens are to be drawn.
PartialText partial_text(const Template& text, const int64_t* tokens, const bool* masked);
// Before anything is drawn.
PartialText partial_text(const Template& text);

// What a step knows of a batch.
struct MatchingStep {
  std::vector<const Template*> texts;  // [B]; those without a pattern are left alone
  at::Tensor tokens;                   // [B, T] int64
  at::Tensor masked;                   // [B, T] bool
  at::Tensor drawn;                    // [B, T] bool: which of the masked are to get a token now
  at::Tensor uniforms;                 // [B, T]
  at::Tensor positions;                // [B, n] int64 of the logits, all masked ones; undefined: all positions
};

// Writes tokens and probabilities of the drawn positions of texts with a pattern into the proposal. Each completion of
// all masked positions that matches has a chance in proportion to the product of its tokens' probabilities after
// `filters`, and the positions that are not drawn yet are summed over; at temperature 0 it is the likeliest. Where
// top-k or nucleus exclude every completion, the text is drawn without them in this step. A token's probability is that
// of its own position, whatever the pattern.
//
// logits [B, n or T, V] of any floating dtype, after the repetition penalty; forbidden [V] as in draw_tokens. Sets
// `proposal.broken` where a probability is not a number. Computes on the host, on any device.
void draw_matching(const MatchingStep& step, const at::Tensor& logits, const at::Tensor& forbidden,
                   const DrawFilters& filters, Proposal& proposal);

// The same as a draw of the device that has all of it: tokens, masked, drawn and uniforms [B, T], logits at every
// position. Makes the proposal's tokens and probabilities what is written; texts without a pattern keep theirs.
kernels::PatternDraw pattern_draw(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters,
                                  const at::Tensor& tokens, const at::Tensor& masked, const at::Tensor& drawn,
                                  const at::Tensor& uniforms, const Proposal& proposal);

}  // namespace demask
