#include "demask/core/held_output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace demask {
namespace {

std::mutex mutex;
bool holding = false;
std::vector<std::pair<int, std::string>> held;  // descriptor and text

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return;
    }
    text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
  }
}

}  // namespace

void hold_output() {
  const std::lock_guard<std::mutex> lock(mutex);
  holding = true;
}

bool hold_back(int descriptor, std::string_view text) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (holding) {
    held.emplace_back(descriptor, text);
  }
  return holding;
}

void release_output() noexcept {
  const std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [descriptor, text] : held) {
    write_all(descriptor, text);
  }
  held.clear();
  holding = false;
}

}  // namespace demask
