// Which norm and which activation a transformer computes, for those who describe it and for those who compute it: here
// without LibTorch, so that nvcc compiles it too.
#pragma once

namespace demask {

enum class NormKind {
  layer,  // LayerNorm (Ba et al. 2016)
  rms,    // x / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich 2019)
};

enum class Activation {
  gelu,       // exact, by the error function (Hendrycks and Gimpel 2016)
  gelu_tanh,  // its approximation by tanh, from the same paper
  silu,       // x * sigmoid(x) (Elfwing et al. 2017)
};

}  // namespace demask
