#include "sampling/pattern_proof.h"

#include <ATen/ATen.h>

#include "sampling/device_patterns.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/matching_draw.h"

namespace demask {
namespace {

std::vector<const Template*> first_with_pattern(const std::vector<const Template*>& texts) {
  constexpr size_t enough = 2;
  std::vector<const Template*> found;
  for (const Template* text : texts) {
    if (text->pattern && found.size() < enough) {
      found.push_back(text);
    }
  }
  return found;
}

// Of any numbers, the same on every machine but for rounding, which is done before a device sees them.
at::Tensor made_up(int64_t rows, int64_t columns) {
  constexpr double row_step = 12.9898, column_step = 78.233, spread = 3;
  const at::Tensor row = at::arange(rows, at::kDouble).mul(row_step).sin().unsqueeze(1);
  const at::Tensor column = at::arange(columns, at::kDouble).add(1).mul(column_step).unsqueeze(0);
  return (row * column).sin().mul(spread);
}

}  // namespace

bool draws_as_host(const std::vector<const Template*>& texts, const at::Tensor& forbidden, at::ScalarType dtype,
                   int64_t mask_token_id, double temperature, const PatternDrawer& draw) {
  const std::vector<const Template*> tried = first_with_pattern(texts);
  const auto size = static_cast<int64_t>(tried.size()), length = tried.front()->length(), outputs = forbidden.numel();
  std::vector<at::Tensor> rows;
  for (const Template* text : tried) {
    rows.push_back(at::tensor(text->tokens));
  }
  const at::Tensor tokens = at::stack(rows), masked = tokens == mask_token_id;
  const at::Tensor logits = made_up(size * length, outputs).to(dtype).view({size, length, outputs});
  const at::Tensor uniforms = made_up(size, length).frac().abs().clamp(1e-4, 1 - 1e-4).to(at::kFloat).contiguous();
  const DrawFilters filters{temperature, 1, {}, {}};

  Proposal by_host{tokens, masked, at::ones_like(uniforms), {}, at::zeros({}, at::kBool)};
  draw_matching({tried, tokens, masked, masked, uniforms, {}}, logits, forbidden.cpu(), filters, by_host);

  const at::Device device = forbidden.device();
  DevicePatterns patterns(pattern_sizes(tried, outputs), outputs, device);
  patterns.set(tried);
  const auto there = [device](const at::Tensor& tensor) { return tensor.to(device); };
  Proposal by_device{
      there(tokens).clone(), there(masked), there(at::ones_like(uniforms)), {}, there(at::zeros({}, at::kBool))};
  const kernels::PatternDraw asked = pattern_draw(there(logits), forbidden, filters, there(tokens), there(masked),
                                                  there(masked), there(uniforms), by_device);
  draw(patterns.tensors(), asked);
  return at::equal(asked.chosen.cpu(), by_host.tokens);
}

}  // namespace demask
