#include <c10/cuda/CUDACachingAllocator.h>
#include <sys/resource.h>

#include "bench/peak_memory.h"

namespace demask::bench {

int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cuda()) {
    return c10::cuda::CUDACachingAllocator::getDeviceStats(device.index()).allocated_bytes[0].peak;  // [0]: all pools
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;  // Linux counts in KiB
}

void reset_peak_memory(at::Device device) {
  if (device.is_cuda()) {
    c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
  }
}

}  // namespace demask::bench
