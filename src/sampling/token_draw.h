// From logits to drawn tokens: filters over logits, then one uniform number a row. All functions are pure and keep
// shapes fixed; rows are the leading dimensions, V the last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/operands.h"

namespace demask {

using kernels::DrawFilters;

// Temperatures between which float32 logits divided by one stay finite, whatever a model gives. Below, drawing is
// greedy, which no draw could tell from it; above, it is by chance alone as it is there.
inline constexpr double least_temperature = 1e-20;
inline constexpr double most_temperature = 1e20;

struct DrawOptions {
  DrawFilters filters;
  double repetition_penalty = 1.0;
  int64_t repetition_window = 10;  // tokens
};
inline bool penalizes(const DrawOptions& draw) {
  return draw.repetition_penalty != 1 && draw.repetition_window > 0;
}

struct Draw {
  at::Tensor ids;            // [...] int64
  at::Tensor probabilities;  // [...] float32, of each drawn id under the distribution it was drawn from
};

// Divides a positive logit, and multiplies any other, by `penalty` for the tokens that are visible in the `window`
// positions before each position. Source: Keskar et al. 2019 (CTRL), section 4.1, made sign-aware.
// logits [B, T, V]; tokens [B, T] int64; visible [B, T] bool.
at::Tensor penalize_repetition(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& visible,
                               double penalty, int64_t window);

// The same for the one position that follows `tokens` [B, n]: logits [B, V].
at::Tensor penalize_repetition_of_next(const at::Tensor& logits, const at::Tensor& tokens, double penalty,
                                       int64_t window);

// Logits [..., V] below the k-th largest of their row become -inf; ties with it stay (nanoGPT's rule).
at::Tensor keep_top_k(const at::Tensor& logits, int64_t k);

// Logits [..., V] outside the nucleus become -inf: what stays is the smallest set of tokens whose probability exceeds
// top_p, likeliest first, the lower id first among equals, never none. Source: Holtzman et al. 2020.
at::Tensor keep_nucleus(const at::Tensor& logits, double top_p);

// Logits [..., V] of any floating dtype as temperature (unless that is 0), top-k and nucleus leave them, in float32.
// What they exclude is far below every logit, yet finite, so that its share of an entropy is 0 and not no number.
at::Tensor filtered_logits(const at::Tensor& logits, const DrawFilters& filters);

// Logits [..., V] of any floating dtype as draw_tokens draws from them, in float32: with `forbidden` [V] added, after
// temperature, top-k and nucleus, or as they are at temperature 0. -inf excludes an id.
at::Tensor drawable_logits(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters);

// The same without top-k and nucleus, and finite for every id that is not forbidden, whatever the model gives.
at::Tensor unfiltered_logits(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters);

// The temperature that drawing divides by: 0 where it is greedy.
double usable_temperature(double temperature);
// The same filters with that temperature.
DrawFilters usable(DrawFilters filters);

// Whether drawing takes the likeliest token.
bool is_greedy(const DrawFilters& filters);

// Draws by inverse CDF in the order of ids: the first id whose cumulative probability exceeds u times the total.
// logits [..., V] float32, -inf excludes an id; uniforms [...] in (0, 1). An excluded id is never drawn.
Draw draw_from(const at::Tensor& logits, const at::Tensor& uniforms);

// Temperature, top-k, nucleus and the draw; greedy (lowest id among equals) at temperature 0. logits of any floating
// dtype. forbidden: [V] float32, 0 or -inf, added to the logits first.
Draw draw_tokens(const at::Tensor& logits, const at::Tensor& forbidden, const at::Tensor& uniforms,
                 const DrawFilters& filters);

// The same for the `wanted` [...] bool rows only; the others keep the `given` [...] int64 id, with probability 1. Both
// undefined: every row. Sets `broken` [] bool where a probability is not a number.
Draw draw_tokens_where(const at::Tensor& wanted, const at::Tensor& given, const at::Tensor& logits,
                       const at::Tensor& forbidden, const at::Tensor& uniforms, const DrawFilters& filters,
                       const at::Tensor& broken);

}  // namespace demask
