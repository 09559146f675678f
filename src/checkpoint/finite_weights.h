// Finds weights that are damaged before a model computes with them.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace demask {

// In one pass, without another tensor of that size in the common case.
bool is_finite(const at::Tensor& tensor);

// The same of `converted`, which was made from `stored`. Looks at `stored` where that alone is on the host, so that no
// weight makes the host wait for the device.
bool is_finite_converted(const at::Tensor& converted, const at::Tensor& stored);

// Whether the float32 or float64 tensor, not empty, is finite and stays so in `dtype`. On the host.
bool stays_finite(const at::Tensor& stored, at::ScalarType dtype);

// Throws Error(bad_input) where a floating-point tensor holds NaN or an infinity, saying so of `what` ("checkpoint
// 'x.pt': the weight 'lm_head.weight'"), how many and where the first is; `stored` is the same before it was converted
// to the dtype that the model computes in, which may be too narrow for it.
void check_finite(const at::Tensor& converted, const at::Tensor& stored, const std::string& what);

}  // namespace demask
