#include "sampling/token_draw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "kernels/cuda.h"
#include "sampling/checked_model.h"

namespace demask {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr double excluded_logit = -1e30;

at::Tensor penalize(const at::Tensor& logits, const at::Tensor& present, double penalty) {
  return at::where(present, at::where(logits > 0, logits / penalty, logits * penalty), logits);
}

// float32 logits after temperature (unless that is 0), top-k and nucleus; what these exclude is -infinity.
at::Tensor apply_filters(at::Tensor logits, const DrawFilters& filters) {
  const double temperature = usable_temperature(filters.temperature);
  if (filters.temperatures.defined()) {
    logits = logits / filters.temperatures.unsqueeze(-1);
  } else if (temperature != 0) {
    logits = logits / temperature;
  }
  if (filters.top_k) {
    logits = keep_top_k(logits, *filters.top_k);
  }
  return filters.top_p < 1 ? keep_nucleus(logits, filters.top_p) : logits;
}

at::Tensor probability_of(const at::Tensor& probabilities, const at::Tensor& ids) {
  return probabilities.gather(-1, ids.unsqueeze(-1)).squeeze(-1);
}

}  // namespace

at::Tensor penalize_repetition(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& visible,
                               double penalty, int64_t window) {
  const int64_t batch = logits.size(0), length = logits.size(1), outputs = logits.size(2);
  // Hidden tokens, and positions before the text, point at one extra column that is cut off at the end.
  const at::Tensor counted = at::where(visible, tokens, at::full_like(tokens, outputs));
  const at::Tensor padded = at::constant_pad_nd(counted, {window, 0}, outputs);
  const at::Tensor recent = padded.slice(1, 0, length + window - 1).unfold(1, window, 1);  // [B, T, window]
  at::Tensor present = at::zeros({batch, length, outputs + 1}, logits.options().dtype(at::kBool));
  present.scatter_(2, recent, true);
  return penalize(logits, present.narrow(2, 0, outputs), penalty);
}

at::Tensor penalize_repetition_of_next(const at::Tensor& logits, const at::Tensor& tokens, double penalty,
                                       int64_t window) {
  const int64_t count = std::min(window, tokens.size(1));
  at::Tensor present = at::zeros_like(logits, logits.options().dtype(at::kBool));
  present.scatter_(1, tokens.narrow(1, tokens.size(1) - count, count), true);
  return penalize(logits, present, penalty);
}

at::Tensor keep_top_k(const at::Tensor& logits, int64_t k) {
  if (k >= logits.size(-1)) {
    return logits;
  }
  const at::Tensor smallest_kept = std::get<0>(logits.topk(k, -1)).narrow(-1, k - 1, 1);
  return logits.masked_fill(logits < smallest_kept, minus_infinity);
}

at::Tensor keep_nucleus(const at::Tensor& logits, double top_p) {
  const auto [sorted, order] = at::sort(at::softmax(logits, -1), /*stable=*/true, /*dim=*/-1, /*descending=*/true);
  // A token is needed as long as those before it do not exceed top_p. The first always is.
  const at::Tensor before = sorted.cumsum(-1) - sorted;
  at::Tensor dropped_in_order = before > top_p;
  dropped_in_order.narrow(-1, 0, 1).fill_(false);
  const at::Tensor dropped = at::zeros_like(dropped_in_order).scatter_(-1, order, dropped_in_order);
  return logits.masked_fill(dropped, minus_infinity);
}

at::Tensor filtered_logits(const at::Tensor& logits, const DrawFilters& filters) {
  const at::Tensor filtered = apply_filters(logits.to(at::kFloat), filters);
  // A maximum of NaN and a number is NaN in LibTorch, so that broken logits are still seen.
  return filtered.clamp_min(excluded_logit);
}

double usable_temperature(double temperature) {
  return temperature < least_temperature ? 0 : std::min(temperature, most_temperature);
}

DrawFilters usable(DrawFilters filters) {
  filters.temperature = usable_temperature(filters.temperature);
  return filters;
}

bool is_greedy(const DrawFilters& filters) {
  return usable_temperature(filters.temperature) == 0 && !filters.temperatures.defined();
}

at::Tensor drawable_logits(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters) {
  const at::Tensor allowed = logits.to(at::kFloat) + forbidden;
  return is_greedy(filters) ? allowed : apply_filters(allowed, filters);
}

at::Tensor unfiltered_logits(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters) {
  DrawFilters temperature_only = filters;
  temperature_only.top_k.reset();
  temperature_only.top_p = 1;
  const at::Tensor scaled = drawable_logits(logits, at::zeros_like(forbidden), temperature_only);
  return scaled.nan_to_num(excluded_logit, -excluded_logit, excluded_logit) + forbidden;
}

Draw draw_from(const at::Tensor& logits, const at::Tensor& uniforms) {
  const at::Tensor probabilities = at::softmax(logits, -1);
  // Zero where an id is excluded, so that rounding in a parallel cumulative sum can never let one be drawn.
  const at::Tensor cumulative = at::where(probabilities > 0, probabilities.cumsum(-1), at::zeros_like(probabilities));
  const at::Tensor threshold = uniforms.unsqueeze(-1) * cumulative.amax(-1, /*keepdim=*/true);
  const at::Tensor ids = (cumulative > threshold).to(at::kByte).argmax(-1);  // the first of equal maxima
  return {ids, probability_of(probabilities, ids)};
}

Draw draw_tokens(const at::Tensor& logits, const at::Tensor& forbidden, const at::Tensor& uniforms,
                 const DrawFilters& filters) {
  const at::Tensor drawable = drawable_logits(logits, forbidden, filters);
  if (is_greedy(filters)) {
    const at::Tensor ids = drawable.argmax(-1);
    return {ids, probability_of(at::softmax(drawable, -1), ids)};
  }
  return draw_from(drawable, uniforms);
}

Draw draw_tokens_where(const at::Tensor& wanted, const at::Tensor& given, const at::Tensor& logits,
                       const at::Tensor& forbidden, const at::Tensor& uniforms, const DrawFilters& filters,
                       const at::Tensor& broken) {
  if (kernels::cuda::has_kernels_for(logits)) {
    Draw draw{at::empty_like(uniforms, uniforms.options().dtype(at::kLong)), at::empty_like(uniforms)};
    kernels::cuda::draw(logits, forbidden, uniforms, wanted, given, usable(filters), draw.ids, draw.probabilities,
                        broken);
    return draw;
  }
  Draw draw = draw_tokens(logits, forbidden, uniforms, filters);
  if (wanted.defined()) {
    draw = {at::where(wanted, draw.ids, given),
            at::where(wanted, draw.probabilities, at::ones_like(draw.probabilities))};
  }
  watch(draw.probabilities, broken);
  return draw;
}

}  // namespace demask
