// How LibTorch was built, told without loading it. In one file with CUDA and one without, chosen by CMake, of which the
// program's front has its own copy.
#pragma once

#include <cstdint>
#include <string>

namespace demask {

// For --version and messages: "LibTorch 1.13.0, built without CUDA", or with CUDA and how many of its devices are seen.
std::string describe_libtorch(int64_t cuda_devices);

bool built_with_cuda();

}  // namespace demask
