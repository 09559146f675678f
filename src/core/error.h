// Throwing demask's exception: thrown where the cause is known, caught once, in main or at the library's border.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "demask/error.h"

namespace demask {

// Throws Error. Messages repeat what users and their files gave: invisible characters other than line ends and tabs
// stand in them as escapes.
[[noreturn]] void throw_error(ExitCode code, const std::string& message);

// The same with a message formatted as fmt::format does.
template <typename... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw_error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace demask
