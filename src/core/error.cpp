#include "core/error.h"

#include "core/text.h"

namespace demask {

void throw_error(ExitCode code, const std::string& message) {
  throw Error(code, printable_lines(message));
}

}  // namespace demask
