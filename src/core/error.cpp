#include "core/error.h"

namespace demask {

Error::Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

}  // namespace demask
