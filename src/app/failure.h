// What becomes of an exception that nothing else catches: a message and an exit code.
#pragma once

#include <fmt/format.h>

#include <exception>

#include "core/error.h"
#include "core/notice.h"

namespace demask {

// The exit code that `work` gives, or that of what it throws, which is told on stderr.
template <typename Work>
int exit_code_of(const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    diagnostic(fmt::format("demask: {}\n", error.what()));
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    diagnostic(fmt::format("demask: failed: {}\n", error.what()));
  }
  return static_cast<int>(ExitCode::failed);
}

}  // namespace demask
