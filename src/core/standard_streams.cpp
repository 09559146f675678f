#include "core/standard_streams.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace demask {

void settle_standard_streams() noexcept {
  // In this order: the lowest number that is free is the one that open takes.
  constexpr int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
  for (int descriptor = 0; descriptor <= STDERR_FILENO; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0) {                       // NOLINT(*-vararg)
      static_cast<void>(::open("/dev/null", modes[descriptor]));  // NOLINT(*-vararg)
    }
  }
  static_cast<void>(::signal(SIGXFSZ, SIG_IGN));
}

}  // namespace demask
