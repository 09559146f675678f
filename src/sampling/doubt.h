// How much speaks against each token of a text, which is then masked again where that is most.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/doubt.h"

namespace demask {

// [B, T] float32, by the formula of kernels/doubt.h.
at::Tensor doubt(const kernels::DoubtTerms& terms, const kernels::DoubtRule& rule);

}  // namespace demask
