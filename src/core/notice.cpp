#include "core/notice.h"

#include <unistd.h>

#include "core/held_output.h"
#include "core/pipe_signal.h"
#include "core/text.h"
#include "core/write_all.h"

namespace demask {

void diagnostic(std::string_view text) {
  const std::string shown = printable_lines(text);
  if (!hold_back(STDERR_FILENO, shown)) {
    const PipeSignalBlocked blocked;
    static_cast<void>(write_all(STDERR_FILENO, shown));
  }
}

}  // namespace demask
