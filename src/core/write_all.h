// Writing to an open file until all is written.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace demask {

// All of `text`, however many calls it takes; false with errno set where one fails.
inline bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
  }
  return true;
}

}  // namespace demask
