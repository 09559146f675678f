// Classifier-free guidance by a prompt. Source: LLaDA (Nie et al. 2025), generate.py.
#pragma once

#include <ATen/core/Tensor.h>

namespace demask {

// l_u + (scale + 1) * (l - l_u), float32 [B, ...], of logits [2B, ...] whose first half are l, of texts with their
// prompts, and whose second half are l_u, of the same texts with their prompts masked.
at::Tensor guided(const at::Tensor& both, double scale);

}  // namespace demask
