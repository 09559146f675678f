// What the kernels' functions of tensors have in common: only they include CUDA's headers beside LibTorch's.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdint>

#include "kernels/cuda_launch.h"
#include "kernels/operands.h"

namespace demask::kernels::cuda {

inline launch::Precision precision_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kHalf:
      return launch::Precision::float16;
    case at::kBFloat16:
      return launch::Precision::bfloat16;
    default:
      TORCH_INTERNAL_ASSERT(x.scalar_type() == at::kFloat);
      return launch::Precision::float32;
  }
}

inline cudaStream_t stream_of(const at::Tensor& x) {
  return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

inline const void* pointer_or_none(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr() : nullptr;
}

template <typename Number>
const Number* numbers_or_none(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<Number>() : nullptr;
}

// Whether the tensor cores of compute capability 9.0 multiply x, which lies in memory as the copy engine reads it.
bool reaches_tensor_cores(const at::Tensor& x);
// `heads` for a kernel, of so many values each.
launch::HeadArguments head_arguments(const Heads& heads, int64_t head_width);

// Whether the tiles' kernel runs on this weight's device, takes its type and can copy its rows.
bool takes_tiles(const at::Tensor& weight);

inline void check_launch() {
  C10_CUDA_CHECK(cudaGetLastError());
}

}  // namespace demask::kernels::cuda
