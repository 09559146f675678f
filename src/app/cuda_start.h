// CUDA before LibTorch: its driver is asked by name, so that nothing needs to be linked.
#pragma once

#include <cstdint>
#include <future>

#include "config/config.h"

namespace demask {

// How many devices a process here would see, without starting CUDA: /dev/nvidia0 and so on, no more than
// CUDA_VISIBLE_DEVICES names.
int64_t cuda_device_files();

// Whether this build can use CUDA here and the settings may.
bool may_use_cuda(const Config& config);

// Begins to start CUDA in the background where it may be used. The future is ready when the
// driver has loaded its own libraries. Load LibTorch only then: both at once hold each other up. The device's context
// is made while LibTorch is loaded, and is kept for it. What fails here fails again in LibTorch, where it is told.
std::future<void> start_cuda(const Config& config);

}  // namespace demask
