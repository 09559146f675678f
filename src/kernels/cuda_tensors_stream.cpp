// Products of a few rows by wide matrices, called with tensors.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {

bool has_stream_product_for(const at::Tensor& weight, int64_t rows) {
  constexpr int64_t least_width = 2048;  // narrower ones stay in the L2 cache
  return std::min(weight.size(0), weight.size(1)) >= least_width && takes_tiles(weight) &&
         launch::takes_stream_product(rows);
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

}  // namespace demask::kernels::cuda
