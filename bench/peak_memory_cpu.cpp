#include <sys/resource.h>

#include "bench/peak_memory.h"

namespace demask::bench {

int64_t peak_memory_bytes(at::Device /*device*/) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;  // Linux counts in KiB
}

void reset_peak_memory(at::Device /*device*/) {}

}  // namespace demask::bench
