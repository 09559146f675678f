#include "app/version.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "app/build_description.h"
#include "core/text.h"
#include "model/libtorch_build.h"

namespace demask {
namespace {

// /dev/nvidia0 and so on, no more than CUDA_VISIBLE_DEVICES names.
int64_t cuda_device_files() {
  constexpr std::string_view beginning = "nvidia";
  int64_t files = 0;
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", unreadable)) {
    const std::string name = entry.path().filename().string();
    const bool numbered =
        starts_with(name, beginning) && name.size() > beginning.size() &&
        std::all_of(name.begin() + beginning.size(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    files += numbered ? 1 : 0;
  }
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string_view named = visible;
    const bool none = named.empty() || starts_with(named, "-") || named == "NoDevFiles";
    files = std::min(files, none ? 0 : static_cast<int64_t>(split(named, ",").size()));
  }
  return files;
}

}  // namespace

std::string version_text() {
  return fmt::format("demask {} ({})\n{}\n", DEMASK_VERSION, describe_libtorch(cuda_device_files()),
                     build_description());
}

}  // namespace demask
