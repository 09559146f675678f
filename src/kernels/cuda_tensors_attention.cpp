// Attention in which every query sees every key, called with tensors.
#include <ATen/ATen.h>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {

bool has_bidirectional_attention_for(const at::Tensor& qkv, int64_t head_width) {
  return head_width == launch::attention_head && reaches_tensor_cores(qkv);
}

at::Tensor bidirectional_attention(const at::Tensor& qkv, int64_t heads, int64_t key_heads) {
  launch::BidirectionalAttentionArguments arguments;
  arguments.batch = qkv.size(0);
  arguments.length = qkv.size(1);
  arguments.heads = heads;
  arguments.key_heads = key_heads;
  TORCH_INTERNAL_ASSERT(qkv.is_contiguous() && heads % key_heads == 0 &&
                        qkv.size(2) == (heads + 2 * key_heads) * launch::attention_head);
  at::Tensor mixed = at::empty({arguments.batch, arguments.length, heads * launch::attention_head}, qkv.options());
  if (mixed.numel() == 0) {
    return mixed;
  }
  arguments.qkv = qkv.const_data_ptr();
  arguments.mixed = mixed.data_ptr();
  TORCH_CHECK(launch::bidirectional_attention(precision_of(qkv), arguments, stream_of(qkv)),
              "the driver takes no attention over ", qkv.sizes());
  check_launch();
  return mixed;
}

}  // namespace demask::kernels::cuda
