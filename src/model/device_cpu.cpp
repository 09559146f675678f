#include "kernels/cpu.h"
#include "model/device.h"

namespace demask {

WorksOn::WorksOn(at::Device /*device*/) {}

bool are_alike(at::Device /*one*/, at::Device /*other*/) {
  return true;
}

void end_process_if_slow_to_end(at::Device /*device*/) {}

bool multiplies_bfloat16(at::Device /*device*/) {
  return kernels::cpu::find(at::kBFloat16) != nullptr;
}

std::future<void> start_up(at::Device /*device*/) {
  return {};
}

int64_t cuda_device_count() {
  return 0;
}

void synchronize(at::Device /*device*/) {}

QueueMark::QueueMark(at::Device /*device*/) {}

void QueueMark::wait() const {}

void release_cached_memory(at::Device /*device*/) {}

int64_t free_memory_bytes(at::Device /*device*/) {
  return host_memory_available_bytes();
}

int64_t peak_memory_bytes(at::Device /*device*/, const std::function<void()>& work) {
  return peak_host_memory_bytes(work);
}

}  // namespace demask
