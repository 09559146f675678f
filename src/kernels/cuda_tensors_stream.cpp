// What windows of positions in models of wide matrices take, called with tensors.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {

bool has_stream_product_for(const at::Tensor& weight, int64_t rows) {
  // Smaller ones stay in the L2 cache. For more outputs the library's tiles are enough for all multiprocessors.
  constexpr int64_t least_width = 2048, most_outputs = 4224;
  return std::min(weight.size(0), weight.size(1)) >= least_width && weight.size(0) <= most_outputs &&
         takes_tiles(weight) && launch::takes_stream_product(rows);
}

at::Tensor stream_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor own = x.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  at::Tensor out = at::empty(sizes, x.options());
  launch::TileProductArguments arguments;
  arguments.inner = weight.size(1);
  arguments.outputs = weight.size(0);
  arguments.rows = x.numel() / arguments.inner;
  arguments.x = own.const_data_ptr();
  arguments.weight = weight.const_data_ptr();
  arguments.bias = pointer_or_none(bias);
  arguments.out = out.data_ptr();
  TORCH_CHECK(launch::stream_product(precision_of(x), arguments, stream_of(x)), "the driver takes no tiles of ",
              weight.sizes());
  check_launch();
  return out;
}

bool has_window_attention_for(const Heads& heads, const at::Tensor& keys, int64_t count) {
  return reaches_tensor_cores(keys) && keys.size(3) == launch::window_head_width && count <= launch::max_window_rows &&
         heads.cosine.defined() && !heads.query_weight.defined() && !heads.key_weight.defined();
}

at::Tensor window_attention(const at::Tensor& qkv, const Heads& heads, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& positions) {
  TORCH_INTERNAL_ASSERT(qkv.is_contiguous() && keys.is_contiguous() && values.is_contiguous());
  at::Tensor mixed = at::empty({qkv.size(0), qkv.size(1), heads.queries * keys.size(3)}, qkv.options());
  launch::WindowArguments arguments;
  arguments.heads = head_arguments(heads, keys.size(3));
  arguments.qkv = qkv.const_data_ptr();
  arguments.keys = keys.data_ptr();
  arguments.values = values.data_ptr();
  arguments.first = positions.const_data_ptr<int64_t>();
  arguments.mixed = mixed.data_ptr();
  arguments.batch = qkv.size(0);
  arguments.count = qkv.size(1);
  arguments.capacity = keys.size(2);
  TORCH_CHECK(launch::window_attention(precision_of(qkv), arguments, stream_of(qkv)),
              "the device refuses attention of a window");
  check_launch();
  return mixed;
}

}  // namespace demask::kernels::cuda
