// Activations, in float.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

template <ActivationForm form>
__device__ float activate(float x) {
  if constexpr (form == ActivationForm::gelu) {
    return 0.5F * x * (1.0F + erff(x * 0.70710678118654752440F));
  } else if constexpr (form == ActivationForm::gelu_tanh) {
    // (1 + tanh(u)) / 2 is the sigmoid of 2u.
    return x / (1.0F + expf(-2.0F * 0.79788456080286535588F * (x + 0.044715F * x * x * x)));
  } else if constexpr (form == ActivationForm::silu) {
    return x / (1.0F + expf(-x));
  } else {
    return x;
  }
}

// For where a branch costs less than a kernel for each activation.
inline __device__ float activate(ActivationForm form, float x) {
  switch (form) {
    case ActivationForm::gelu:
      return activate<ActivationForm::gelu>(x);
    case ActivationForm::gelu_tanh:
      return activate<ActivationForm::gelu_tanh>(x);
    case ActivationForm::silu:
      return activate<ActivationForm::silu>(x);
    case ActivationForm::none:
      break;
  }
  return x;
}

}  // namespace demask::kernels::cuda::launch
