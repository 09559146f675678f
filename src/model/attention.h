// Scaled dot-product attention: one file for LibTorch 1.13, one for 2.x, chosen by CMake.
#pragma once

#include <ATen/core/Tensor.h>

namespace demask {

// queries [B, H, Q, D], keys and values [B, K, N, D] -> [B, H, Q, D], scores scaled by 1 / sqrt(D). K divides H: each
// key serves H / K neighbouring heads of queries (Ainslie et al. 2023).
struct AttentionForm {
  bool causal = false;           // query i stands at position N - Q + i and sees the keys up to its own position
  bool batch_invariant = false;  // a text's result is the same bits whatever B
  at::Tensor seen = {};          // bool [Q, N], in place of `causal`: the keys that each query sees; or undefined
};
at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, AttentionForm form);

// Chooses, once for the process and before its first product, those of LibTorch's kernels that suit demask.
void prefer_fast_products();

}  // namespace demask
