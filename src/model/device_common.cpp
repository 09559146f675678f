#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <string>

#include "model/device.h"
#include "model/libtorch_build.h"

namespace demask {
namespace {

constexpr int64_t unlimited = std::numeric_limits<int64_t>::max();

// The number in a file that holds nothing else; `unlimited` where there is none (the file is missing, or says "max").
int64_t number_in(const std::string& path) {
  int64_t value = 0;
  std::ifstream file(path);
  return file >> value ? value : unlimited;
}

int64_t system_memory_available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string label, unit;
  for (int64_t kib = 0; file >> label >> kib;) {
    if (label == "MemAvailable:") {
      return kib * 1024;
    }
    std::getline(file, unit);
  }
  return unlimited;
}

// A line of what the kernel says of this process; 0 where there is none.
int64_t own_memory_bytes(const std::string& label) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    int64_t kib = 0;
    if (word == label && file >> kib) {
      return kib * 1024;
    }
  }
  return 0;
}

}  // namespace

int64_t host_memory_available_bytes() {
  const int64_t limit = number_in("/sys/fs/cgroup/memory.max");
  const int64_t used = number_in("/sys/fs/cgroup/memory.current");
  const int64_t within_group = limit == unlimited || used == unlimited ? unlimited : std::max<int64_t>(limit - used, 0);
  return std::min(system_memory_available_bytes(), within_group);
}

int64_t peak_host_memory_bytes(const std::function<void()>& work) {
  const int64_t before = own_memory_bytes("VmRSS:");
  const bool reset = static_cast<bool>(std::ofstream("/proc/self/clear_refs") << "5" << std::flush);  // VmHWM = VmRSS
  work();
  return reset ? std::max<int64_t>(own_memory_bytes("VmHWM:") - before, 0) : 0;
}

std::shared_mutex& recordings() {
  static std::shared_mutex mutex;
  return mutex;
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) {
    return true;
  }
  // LibTorch's CPU allocator, and errors that passed through TorchScript, are told by their words only.
  for (const char* words :
       {"DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory", "out of memory"}) {
    if (std::strstr(error.what(), words) != nullptr) {
      return true;
    }
  }
  return false;
}

// LibTorch has a type for the runtime's own errors only; errors of libraries and of TorchScript are told by their
// words.
bool is_device_failure(const std::exception& error) {
  if (is_out_of_memory(error)) {
    return false;
  }
  for (const char* words : {"CUDA error", "CUDA driver error", "CUBLAS_STATUS_", "cuBLASLt: ", "cuDNN error"}) {
    if (std::strstr(error.what(), words) != nullptr) {
      return true;
    }
  }
  return false;
}

std::string libtorch_description() {
  return describe_libtorch(cuda_device_count());
}

}  // namespace demask
