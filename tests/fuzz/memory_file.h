// A fuzzer's input as a file that readers can open by name.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace demask::fuzz {

// One file in memory, rewritten for each input.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("input", 0)), path_("/proc/self/fd/" + std::to_string(descriptor_)) {}
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(descriptor_); }

  const std::string& write(const uint8_t* data, size_t size) {
    const bool written =
        ftruncate(descriptor_, 0) == 0 && pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size);
    if (!written) {
      std::abort();
    }
    return path_;
  }

 private:
  int descriptor_;
  std::string path_;
};

}  // namespace demask::fuzz
