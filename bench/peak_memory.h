// How much memory was in use at most: one file with CUDA and one without, chosen by CMake.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace demask::bench {

// CUDA: bytes that tensors held at most, since the last reset. CPU: bytes that the process held at most, ever.
int64_t peak_memory_bytes(at::Device device);

// Counts anew from here on, where the device can.
void reset_peak_memory(at::Device device);

}  // namespace demask::bench
