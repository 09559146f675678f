#include "app/build_description.h"

#include <fmt/format.h>

namespace demask {

// CMake says what each macro is.
std::string build_description() {
  const std::string sanitizers = DEMASK_SANITIZERS;
  return fmt::format("{} build, {}, {}, CPU kernels {}, CUDA kernels {}{}", DEMASK_BUILD_TYPE, DEMASK_COMPILER,
                     DEMASK_PROCESSOR, DEMASK_HAS_CPU_KERNELS ? "AVX2, AVX-512, AVX-512 BF16 and VNNI" : "none",
                     DEMASK_HAS_CUDA_KERNELS ? "built in" : "none",
                     sanitizers.empty() ? "" : ", sanitizers " + sanitizers);
}

}  // namespace demask
