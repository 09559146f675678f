// Files of safetensors: what is read can be looked at to its last byte.
#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>

#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile memory;
  try {
    const demask::SafetensorsFile file(memory.write(data, size));
    for (const auto& entry : file.tensors()) {
      try {
        file.read(entry.first).to(at::kDouble).sum();
      } catch (const demask::Error&) {
      }
    }
  } catch (const demask::Error&) {
  }
  return 0;
}
