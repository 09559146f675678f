// Attention through LibTorch 2.x's scaled_dot_product_attention, which picks the fastest kernel for device, dtype and
// shape.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <torch/version.h>

#include <cstdlib>

#include "model/attention.h"

namespace demask {

namespace {

// cuDNN's attention, which LibTorch prefers on Hopper, takes about two thirds of the others' time there but plans anew
// for every shape (some 40 ms with 2.11), and a cache of keys grows by one each token.
void use_planned_attention(bool use) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  at::globalContext().setSDPUseCuDNN(use);
#else
  static_cast<void>(use);
#endif
}

// heads [B, K, N, D] -> [B, H, N, D], each as often as queries [B, H, Q, D] share it.
at::Tensor for_each_query(const at::Tensor& heads, const at::Tensor& queries) {
  const int64_t each = queries.size(1) / heads.size(1);
  return each == 1 ? heads : heads.repeat_interleave(each, 1);
}

// Beyond either, planning pays: tokens, or multiplications of queries with keys.
constexpr int64_t planned_tokens = 4096, planned_products = int64_t{1} << 31;

// Shapes that stay the same through a run, where planning pays once there is enough to do.
bool worth_a_plan(const at::Tensor& queries) {
  const int64_t tokens = queries.size(0) * queries.size(2);
  return queries.is_cuda() && (tokens >= planned_tokens || queries.numel() * queries.size(2) >= planned_products);
}

// Without a mask. LibTorch's kernels of half precisions share keys among queries; for float32 it would write all scores
// to memory instead.
at::Tensor attend_unmasked(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
  if (queries.size(1) != keys.size(1) && queries.is_cuda() && queries.element_size() == 2) {
    return at::scaled_dot_product_attention(queries, keys, values, /*attn_mask=*/{}, /*dropout_p=*/0.0, causal,
                                            /*scale=*/{}, /*enable_gqa=*/true);
  }
#endif
  return at::scaled_dot_product_attention(queries, for_each_query(keys, queries), for_each_query(values, queries),
                                          /*attn_mask=*/{}, /*dropout_p=*/0.0, causal);
}

}  // namespace

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal) {
  const int64_t length = queries.size(2), known = keys.size(2);
  if (!causal && length == known) {
    use_planned_attention(worth_a_plan(queries));
    at::Tensor mixed = attend_unmasked(queries, keys, values, /*causal=*/false);
    use_planned_attention(false);
    return mixed;
  }
  if (!causal || length == 1) {
    return attend_unmasked(queries, keys, values, /*causal=*/false);  // one query, the last, sees every key
  }
  if (length == known) {
    return attend_unmasked(queries, keys, values, /*causal=*/true);
  }
  const at::Tensor allowed = at::ones({length, known}, queries.options().dtype(at::kBool)).tril(known - length);
  return at::scaled_dot_product_attention(queries, for_each_query(keys, queries), for_each_query(values, queries),
                                          allowed);
}

void prefer_fast_products() {
  use_planned_attention(false);
  // MKL otherwise rounds by how a product is split over threads and where it lies in memory, which the batch decides.
  setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
}

}  // namespace demask
