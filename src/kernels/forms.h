// Which norm and which activation a kernel computes; without LibTorch, for nvcc.
#pragma once

namespace demask::kernels {

enum class NormForm {
  layer,  // LayerNorm
  rms,    // RMSNorm: nothing is taken off
};

enum class ActivationForm {
  none,
  gelu,       // exact
  gelu_tanh,  // its approximation by tanh
  silu,
};

}  // namespace demask::kernels
