#include <fmt/format.h>
#include <torch/version.h>

#include "demask/model/device.h"

namespace demask {

int64_t cuda_device_count() {
  return 0;
}

void synchronize(at::Device /*device*/) {}

void release_cached_memory(at::Device /*device*/) {}

int64_t free_memory_bytes(at::Device /*device*/) {
  return host_memory_available_bytes();
}

std::string libtorch_description() {
  return fmt::format("LibTorch {}, built without CUDA", TORCH_VERSION);
}

}  // namespace demask
