// How the readers of vocabularies refuse a file.
#pragma once

#include <string>

#include "core/error.h"

namespace demask {

// Throws Error(bad_input); `why` ends without a full stop.
[[noreturn]] inline void refuse_vocabulary(const std::string& path, const std::string& why) {
  fail(ExitCode::bad_input, "vocabulary '{}': {}.", path, why);
}

}  // namespace demask
