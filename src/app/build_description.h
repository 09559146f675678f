// How this demask was built.
#pragma once

#include <string>

namespace demask {

// "Release build, GNU 12.2.0, x86_64, CPU kernels AVX2, AVX-512 and AVX-512 BF16, CUDA kernels none".
std::string build_description();

}  // namespace demask
