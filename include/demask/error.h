// The one exception type of demask, and the exit codes that go with it.
#pragma once

#include <stdexcept>
#include <string>

namespace demask {

// What the program exits with. Scripts depend on these values.
enum class ExitCode : int {
  done = 0,
  bad_usage = 2,      // a key, a value, or a combination of them
  bad_input = 3,      // a checkpoint, vocabulary, config file or prompt is missing or unreadable
  failed = 4,         // out of memory, non-finite logits, output not writable
  interrupted = 130,  // by SIGINT
  terminated = 143,   // by SIGTERM
};

// The message names the file, key or value, what was allowed and what to do.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

}  // namespace demask
