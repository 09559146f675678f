// The one exception type of demask: thrown where the cause is known, caught once, in main.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace demask {

// What the process exits with. Scripts depend on these values.
enum class ExitCode : int {
  done = 0,
  bad_usage = 2,      // a key, a value, or a combination of them
  bad_input = 3,      // a checkpoint, vocabulary, config file or prompt is missing or unreadable
  failed = 4,         // out of memory, non-finite logits, output not writable
  interrupted = 130,  // by SIGINT
  terminated = 143,   // by SIGTERM
};

// The message names the file, key or value, what was allowed and what to do; main prints it as it is.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message);
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

// Throws Error with a message formatted as fmt::format does.
template <typename... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace demask
