// Attention through LibTorch 2.x's scaled_dot_product_attention, which picks the fastest kernel for device, dtype and
// shape.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <torch/version.h>

#include <cstdlib>

#include "demask/model/attention.h"

namespace demask {

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal) {
  const int64_t length = queries.size(2), known = keys.size(2);
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

void choose_kernels() {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  // cuDNN's attention, which LibTorch prefers on Hopper, plans anew for every length (some 40 ms with 2.11), and a
  // cache of keys grows by one each token.
  at::globalContext().setSDPUseCuDNN(false);
#endif
  // MKL otherwise rounds by how a product is split over threads and where it lies in memory, which the batch decides.
  setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
}

}  // namespace demask
