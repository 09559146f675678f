#include "app/cuda_start.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "config/devices.h"
#include "core/signals_blocked.h"
#include "core/text.h"
#include "model/libtorch_build.h"

namespace demask {
namespace {

// The CUDA driver's functions of the same names; 0 is success.
using Init = int (*)(unsigned flags);
using RetainPrimaryContext = int (*)(void** context, int device);

void start_driver(std::optional<int> device, std::promise<void> loaded) {
  void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto init = driver == nullptr ? nullptr : reinterpret_cast<Init>(::dlsym(driver, "cuInit"));
  const bool started = init != nullptr && init(0) == 0;
  loaded.set_value();
  if (!started || !device) {
    return;
  }
  void* context = nullptr;
  if (const auto retain = reinterpret_cast<RetainPrimaryContext>(::dlsym(driver, "cuDevicePrimaryCtxRetain"))) {
    retain(&context, *device);
  }
}

// The first that is drawn on. None where a launcher's local rank may choose another, on which alone this process is to
// take memory.
std::optional<int> first_device(const Config& config) {
  if (const std::optional<std::vector<int64_t>> numbers = numbered_devices(config.device)) {
    return static_cast<int>(numbers->front());
  }
  return config.shard ? std::nullopt : std::optional(0);
}

}  // namespace

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

bool may_use_cuda(const Config& config) {
  return built_with_cuda() && config.device != "cpu" && !config.export_folder && cuda_device_files() > 0;
}

std::future<void> start_cuda(const Config& config) {
  std::promise<void> loaded;
  std::future<void> ready = loaded.get_future();
  if (!may_use_cuda(config)) {
    loaded.set_value();
    return ready;
  }
  const SignalsBlocked blocked;  // inherited by the thread: signals are for the one that draws
  try {
    std::thread(start_driver, first_device(config), std::move(loaded)).detach();
  } catch (const std::system_error&) {  // no thread to be had: LibTorch starts CUDA when it needs it
    ready = {};
  }
  return ready;
}

}  // namespace demask
