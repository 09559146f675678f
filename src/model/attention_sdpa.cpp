// Attention through LibTorch 2.x's scaled_dot_product_attention, which picks the fastest kernel for device, dtype and shape.
#include <ATen/ATen.h>

#include "demask/model/attention.h"

namespace demask {

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal) {
  const int64_t length = queries.size(2), known = keys.size(2);
  if (!causal || length == 1) {
    return at::scaled_dot_product_attention(queries, keys, values);  // one query, the last, sees every key
  }
  if (length == known) {
    return at::scaled_dot_product_attention(queries, keys, values, /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true);
  }
  const at::Tensor allowed = at::ones({length, known}, queries.options().dtype(at::kBool)).tril(known - length);
  return at::scaled_dot_product_attention(queries, keys, values, allowed);
}

}  // namespace demask
