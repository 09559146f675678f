// Questions about devices, answered in one file with CUDA and one without, chosen by CMake.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <string>

namespace demask {

// CUDA devices that LibTorch can use here; 0 without CUDA.
int64_t cuda_device_count();

// Waits until all work queued on `device` is done.
void synchronize(at::Device device);

// Bytes that can still be allocated on `device`.
int64_t free_memory_bytes(at::Device device);

// Bytes of host memory that can still be used: what the kernel counts as available, within this process's control
// group.
int64_t host_memory_available_bytes();

// Gives memory that LibTorch keeps for reuse back to `device`.
void release_cached_memory(at::Device device);

// Whether `error` says that memory ran out, on the host or on a device.
bool is_out_of_memory(const std::exception& error);

// How LibTorch was built, for --version: "LibTorch 1.13.0, CUDA not built in".
std::string libtorch_description();

}  // namespace demask
