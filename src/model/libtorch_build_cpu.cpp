#include <fmt/format.h>
#include <torch/version.h>

#include "model/libtorch_build.h"

namespace demask {

std::string describe_libtorch(int64_t /*cuda_devices*/) {
  return fmt::format("LibTorch {}, built without CUDA", TORCH_VERSION);
}

bool built_with_cuda() {
  return false;
}

}  // namespace demask
