#include "core/waiting_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace demask {

size_t WaitingInput::read(char* bytes, size_t count) {
  while (!stopped_ && error_.empty() && wait()) {
    const ssize_t got = ::read(descriptor_, bytes, count);
    if (got >= 0) {
      return static_cast<size_t>(got);
    }
    if (errno != EINTR && errno != EAGAIN) {
      error_ = std::generic_category().message(errno);
    }
  }
  return 0;
}

// Until there is something to read, or the end; false where it is asked to stop.
bool WaitingInput::wait() {
  std::vector<pollfd> all = {{descriptor_, POLLIN, 0}};
  for (const int stop : stops_) {
    all.push_back({stop, POLLIN, 0});  // poll passes over negative ones
  }
  while (::poll(all.data(), all.size(), -1) < 0) {
    if (errno != EINTR) {
      error_ = std::generic_category().message(errno);
      return false;
    }
  }
  stopped_ = std::any_of(all.begin() + 1, all.end(), [](const pollfd& stop) { return stop.revents != 0; });
  return !stopped_;
}

}  // namespace demask
