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

constexpr int64_t planned_tokens = 4096;

at::Tensor planned_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool plan) {
  use_planned_attention(plan);
  at::Tensor mixed = at::scaled_dot_product_attention(queries, keys, values);
  use_planned_attention(false);
  return mixed;
}

}  // namespace

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal) {
  const int64_t length = queries.size(2), known = keys.size(2);
  if (!causal && length == known) {
    // Shapes that stay the same through a run, where planning pays once there is enough to do.
    const bool worth_a_plan = queries.is_cuda() && queries.size(0) * length >= planned_tokens;
    return planned_attention(queries, keys, values, worth_a_plan);
  }
  if (!causal || length == 1) {
    return at::scaled_dot_product_attention(queries, keys, values);  // one query, the last, sees every key
  }
  if (length == known) {
    return at::scaled_dot_product_attention(queries, keys, values, /*attn_mask=*/{}, /*dropout_p=*/0.0,
                                            /*is_causal=*/true);
  }
  const at::Tensor allowed = at::ones({length, known}, queries.options().dtype(at::kBool)).tril(known - length);
  return at::scaled_dot_product_attention(queries, keys, values, allowed);
}

void prefer_fast_products() {
  use_planned_attention(false);
  // MKL otherwise rounds by how a product is split over threads and where it lies in memory, which the batch decides.
  setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
}

}  // namespace demask
