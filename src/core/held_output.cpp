#include "core/held_output.h"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/write_all.h"

namespace demask {
namespace {

std::mutex mutex;
bool holding = false;
std::vector<std::pair<int, std::string>> held;  // descriptor and text

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
    static_cast<void>(write_all(descriptor, text));
  }
  held.clear();
  holding = false;
}

}  // namespace demask
