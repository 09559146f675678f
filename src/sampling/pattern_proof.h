// Whether a device's kernels draw texts that match patterns as the host does, tried before they are relied upon: a
// sample that does not match, or is drawn by the wrong chances, cannot be told from another by looking.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/pattern_tensors.h"

namespace demask {

struct Template;

using PatternDrawer = std::function<void(const kernels::PatternTensors&, const kernels::PatternDraw&)>;

// Draws the first two of the texts that have a pattern, from made-up logits [2, T, V] of `dtype`, by `draw` on the
// device of forbidden [V] and by draw_matching. True where both give the same tokens.
bool draws_as_host(const std::vector<const Template*>& texts, const at::Tensor& forbidden, at::ScalarType dtype,
                   int64_t mask_token_id, double temperature, const PatternDrawer& draw);

}  // namespace demask
