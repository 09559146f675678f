// Throwing demask's exception: thrown where the cause is known, caught once, in main or at the library's border.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "demask/error.h"

namespace demask {

// Throws Error with a message formatted as fmt::format does.
template <typename... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace demask
