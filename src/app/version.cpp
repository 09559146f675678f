#include "app/version.h"

#include <fmt/format.h>

#include "app/build_description.h"
#include "app/cuda_start.h"
#include "model/libtorch_build.h"

namespace demask {

std::string version_text() {
  return fmt::format("demask {} ({})\n{}\n", DEMASK_VERSION, describe_libtorch(cuda_device_files()),
                     build_description());
}

}  // namespace demask
