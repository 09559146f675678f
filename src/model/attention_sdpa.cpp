// Attention through LibTorch 2.x's scaled_dot_product_attention, which picks the fastest kernel for device, dtype and
// shape.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <torch/version.h>

#include <cstdlib>
#include <mutex>

#include "model/attention.h"

namespace demask {

namespace {

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
constexpr bool has_planned_attention = true;
#else
constexpr bool has_planned_attention = false;
#endif

// cuDNN's attention, which LibTorch prefers on Hopper, takes about two thirds of the others' time there but plans anew
// for every shape (some 40 ms with 2.11), and a cache of keys grows by one each token.
void use_planned_attention(bool use) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  at::globalContext().setSDPUseCuDNN(use);
#else
  static_cast<void>(use);
#endif
}

// What LibTorch may choose among is the process's, so that devices which several threads work on take turns: calls only
// queue work, and recorded steps make none.
std::mutex choosing;

// LibTorch's kernels for a call: those that it may choose among.
class KernelsAllowed {
 public:
  KernelsAllowed(bool planned, bool splitting) : alone_(choosing) {
    use_planned_attention(planned);
    at::globalContext().setSDPUseFlash(splitting);
  }
  KernelsAllowed(const KernelsAllowed&) = delete;
  KernelsAllowed& operator=(const KernelsAllowed&) = delete;
  ~KernelsAllowed() {
    use_planned_attention(false);
    at::globalContext().setSDPUseFlash(true);
  }

 private:
  std::lock_guard<std::mutex> alone_;
};

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

// Flash attention splits the keys among blocks where there are few texts, and its sums change with that; where all keys
// fit in one of its blocks it has nothing to split. Its blocks of keys by the width of a head, as LibTorch cuts them
// (set_params_splitkv of its flash_api.cpp).
int64_t keys_not_split(int64_t head_width) {
  return head_width <= 64 ? 256 : head_width <= 128 ? 128 : 64;
}

// Which kernels leave a text's result as it is whatever the batch; only the text's own shape may decide. A plan pays
// for the lengths that whole runs have, not for a list's many.
bool planned_whatever_the_batch(const at::Tensor& queries, bool causal) {
  constexpr int64_t lengths_with_plans = 128;
  return has_planned_attention && queries.is_cuda() && !causal && queries.size(2) > lengths_with_plans &&
         queries.size(2) % lengths_with_plans == 0;
}

// Without a mask. LibTorch's kernels of half precisions share keys among queries; for float32, and where they may not
// split the keys, it would write all scores to memory instead.
at::Tensor attend_unmasked(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal,
                           bool splitting) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
  if (splitting && queries.size(1) != keys.size(1) && queries.is_cuda() && queries.element_size() == 2) {
    return at::scaled_dot_product_attention(queries, keys, values, /*attn_mask=*/{}, /*dropout_p=*/0.0, causal,
                                            /*scale=*/{}, /*enable_gqa=*/true);
  }
#else
  static_cast<void>(splitting);
#endif
  return at::scaled_dot_product_attention(queries, for_each_query(keys, queries), for_each_query(values, queries),
                                          /*attn_mask=*/{}, /*dropout_p=*/0.0, causal);
}

}  // namespace

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, AttentionForm form) {
  const int64_t length = queries.size(2), known = keys.size(2);
  const bool planned = length == known && (form.batch_invariant ? planned_whatever_the_batch(queries, form.causal)
                                                                : !form.causal && worth_a_plan(queries));
  const bool splitting = !form.batch_invariant || (!planned && known <= keys_not_split(queries.size(3)));
  const KernelsAllowed allowed(planned, splitting);
  if (form.seen.defined()) {
    return at::scaled_dot_product_attention(queries, for_each_query(keys, queries), for_each_query(values, queries),
                                            form.seen);
  }
  if (!form.causal || length == 1) {
    // One query, the last, sees every key.
    return attend_unmasked(queries, keys, values, /*causal=*/false, splitting);
  }
  if (length == known) {
    return attend_unmasked(queries, keys, values, /*causal=*/true, splitting);
  }
  const at::Tensor seen = at::ones({length, known}, queries.options().dtype(at::kBool)).tril(known - length);
  return at::scaled_dot_product_attention(queries, for_each_query(keys, queries), for_each_query(values, queries),
                                          seen);
}

void prefer_fast_products() {
  const std::lock_guard<std::mutex> alone(choosing);
  use_planned_attention(false);
  // MKL otherwise rounds by how a product is split over threads and where it lies in memory, which the batch decides.
  setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
}

}  // namespace demask
