#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <torch/version.h>

#include "model/libtorch_build.h"

namespace demask {

std::string describe_libtorch(int64_t cuda_devices) {
  return fmt::format(
      "LibTorch {}, CUDA {}.{} built in, {}", TORCH_VERSION, CUDART_VERSION / 1000, CUDART_VERSION / 10 % 100,
      cuda_devices == 0 ? "no CUDA device seen"
                        : fmt::format("{} CUDA device{} seen", cuda_devices, cuda_devices == 1 ? "" : "s"));
}

bool built_with_cuda() {
  return true;
}

}  // namespace demask
