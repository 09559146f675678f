#include "app/read_ahead.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>

#include "config/model_paths.h"
#include "core/signals_blocked.h"

namespace demask {
namespace {

// More than a disk gives while LibTorch is loaded.
constexpr int64_t most_bytes = int64_t{1} << 30;

// Gives how many bytes it asked for, at most so many.
int64_t ask_for(const std::filesystem::path& path, int64_t most) {
  std::error_code unknown;
  if (most <= 0 || !std::filesystem::is_regular_file(path, unknown)) {  // a pipe would lose its writer
    return 0;
  }
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // NOLINT(*-vararg)
  if (file < 0) {
    return 0;
  }
  const int64_t bytes = std::min(most, static_cast<int64_t>(::lseek(file, 0, SEEK_END)));
  static_cast<void>(::posix_fadvise(file, 0, bytes, POSIX_FADV_WILLNEED));
  ::close(file);
  return bytes;
}

void ask_for_checkpoint(const std::string& checkpoint) {
  std::error_code unknown;
  if (!std::filesystem::is_directory(checkpoint, unknown)) {
    ask_for(checkpoint, most_bytes);
    return;
  }
  int64_t left = most_bytes;
  std::filesystem::directory_iterator entry(checkpoint, unknown);
  for (; entry != std::filesystem::directory_iterator(); entry.increment(unknown)) {
    left -= ask_for(entry->path(), left);
  }
}

}  // namespace

void read_ahead(const Config& config) {
  const SignalsBlocked blocked;  // inherited by the thread: signals are for the one that draws
  try {
    std::thread(ask_for_checkpoint, checkpoint_path(config)).detach();
  } catch (const std::system_error&) {  // no thread to be had: the files are read when they are needed
  }
}

}  // namespace demask
