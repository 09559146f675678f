// The steps of a transformer as LibTorch's operations compute them.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "checkpoint/transformer.h"

namespace demask {

// cos and sin of position * base^(-2i / D), [positions, D / 2] float64 each, the frequencies scaled where the
// description says so. Source: Su et al. 2021.
std::pair<at::Tensor, at::Tensor> rotary_angles(const TransformerDescription& description);

// Of x [B, T, C]. On the CPU in float32 a sample's bits do not depend on the others; so it is with the products.
at::Tensor activate(const at::Tensor& x, Activation activation);

// x [B, T, in], weight [out, in] -> [B, T, out].
at::Tensor product(const at::Tensor& x, const at::Tensor& weight);

// The same plus bias [out], or undefined.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// x [..., C], weight [C]; computed in float32, as the families do.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// heads [B, H, T, D] turned by the angles of their positions [T, D / 2].
at::Tensor rotate(const at::Tensor& heads, const at::Tensor& cosine, const at::Tensor& sine);

// A parameter [rows, ...] on CUDA with zeros up to a multiple of 8 rows: LibTorch's products reach half their rate
// there where rows of the result do not begin at 16-byte boundaries. Others, and an undefined one, as they are.
at::Tensor pad_rows(const at::Tensor& parameter);

}  // namespace demask
