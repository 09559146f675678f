// Activations, in float. Hopper's products take a polynomial in place of the exact GELU: gelu_of_sum in
// cuda_finish.cuh.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

template <Activation form>
__device__ float activate(float x) {
  if constexpr (form == Activation::gelu) {
    return 0.5F * x * (1.0F + erff(x * 0.70710678118654752440F));
  } else if constexpr (form == Activation::gelu_tanh) {
    // (1 + tanh(u)) / 2 is the sigmoid of 2u.
    return x / (1.0F + expf(-2.0F * 0.79788456080286535588F * (x + 0.044715F * x * x * x)));
  } else {
    static_assert(form == Activation::silu);
    return x / (1.0F + expf(-x));
  }
}

// For where a branch costs less than a kernel for each activation.
inline __device__ float activate(Activation form, float x) {
  switch (form) {
    case Activation::gelu:
      return activate<Activation::gelu>(x);
    case Activation::gelu_tanh:
      return activate<Activation::gelu_tanh>(x);
    case Activation::silu:
      return activate<Activation::silu>(x);
  }
  return x;
}

}  // namespace demask::kernels::cuda::launch
