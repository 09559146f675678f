#include "core/temporary_files.h"

#include <limits.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>

#include "core/error.h"

namespace demask {
namespace {

// Storage of fixed place and size, because a signal handler may neither allocate nor wait for a lock.
struct Slot {
  std::atomic<bool> taken{false};
  std::atomic<bool> ready{false};  // `path` is complete
  std::array<char, PATH_MAX> path{};
};
static_assert(std::atomic<bool>::is_always_lock_free);

std::array<Slot, 32> slots;

}  // namespace

void register_temporary(const std::string& path) {
  if (path.size() >= PATH_MAX) {
    fail(ExitCode::failed, "the temporary file '{}' cannot be written: its path is longer than {} bytes", path,
         PATH_MAX - 1);
  }
  for (Slot& slot : slots) {
    if (slot.taken.exchange(true)) {
      continue;
    }
    std::memcpy(slot.path.data(), path.c_str(), path.size() + 1);
    slot.ready = true;
    return;
  }
  fail(ExitCode::failed, "the temporary file '{}' cannot be written: {} are being written already", path, slots.size());
}

void unregister_temporary(const std::string& path) noexcept {
  for (Slot& slot : slots) {
    if (slot.ready && path == slot.path.data()) {
      slot.ready = false;
      slot.taken = false;
      return;
    }
  }
}

void remove_temporaries() noexcept {
  for (const Slot& slot : slots) {
    if (slot.ready) {
      ::unlink(slot.path.data());
    }
  }
  for (const Slot& slot : slots) {  // folders, which are empty by now
    if (slot.ready) {
      ::rmdir(slot.path.data());
    }
  }
}

}  // namespace demask
