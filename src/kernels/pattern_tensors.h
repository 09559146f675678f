// What the joint draw of texts that match patterns works in, as tensors at fixed addresses, so that a recorded step
// serves every batch that fits in them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/operands.h"
#include "kernels/pattern_rule.h"

namespace demask::kernels {

// Room for a batch [B, T] of texts and their tables; all on one device.
struct PatternTensors {
  at::Tensor tables;                          // [room] int32, packed, see PatternTable
  at::Tensor table_at;                        // [B] int64, where a text's begins; below 0: the text has no pattern
  at::Tensor fixed;                           // [B, T] int32, see PatternArguments
  at::Tensor weights, messages, sums;         // [B, T, W], [B, T + 1, S], [B, T, V or 0] float64
  at::Tensor next, path, numbers, source;     // [B, T, S], [B, T], [B], [B] int32
  at::Tensor largest, highest, total, holds;  // [B, T] float64, float32, float32, bool
  int32_t spans = 0, products = 0;            // see PatternSizes
};

struct PatternSizes {
  int64_t batch = 0, length = 0;
  int64_t table_numbers = 0;  // of all tables together
  int64_t states = 0;         // of the largest
  int64_t weights = 0;        // of a position: classes of the largest and one, even
  int64_t sums = 0;           // of a position: outputs, or none where they are many
  int64_t spans = 0;          // of a text, by the table with the shortest; none where no table has ways through them
  int64_t products = 0;       // of a text: those of its spans and one each, by the table that has most
};

// Bytes of the tensors.
int64_t pattern_bytes(const PatternSizes& sizes);

PatternTensors make_pattern_tensors(const PatternSizes& sizes, at::Device device);

// A draw [B, T] over V outputs. Texts without a pattern are left alone.
struct PatternDraw {
  at::Tensor logits;     // [B, T, V] of any floating dtype, rows evenly apart
  at::Tensor filtered;   // [B, T, V] float32: what top-k and nucleus leave of it, -infinity elsewhere; or undefined
  at::Tensor forbidden;  // [V] float32
  DrawFilters filters;
  at::Tensor tokens, masked, drawn, uniforms;  // [B, T] int64, bool, bool, float32
  at::Tensor chosen, probabilities, broken;    // [B, T] int64, float32, [] bool: written
};

// The same as pointers. Throws c10::Error where a tensor is not contiguous.
PatternArguments pattern_arguments(const PatternTensors& tensors, const PatternDraw& draw);

}  // namespace demask::kernels
