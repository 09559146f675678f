// Reading from a pipe or a terminal, at which somebody may be asked to stop waiting.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "core/input_file.h"

namespace demask {

// Gives bytes as soon as there are any, and ends where one of the descriptors `stops` can be read from.
class WaitingInput : public ByteSource {
 public:
  // The descriptors stay the caller's. Negative ones of `stops` are none.
  WaitingInput(int descriptor, std::vector<int> stops) : descriptor_(descriptor), stops_(std::move(stops)) {}

  size_t read(char* bytes, size_t count) override;
  bool failed() const override { return !error_.empty(); }

  bool stopped() const { return stopped_; }
  // What the system says of a failed read; empty where none failed.
  const std::string& error() const { return error_; }

 private:
  bool wait();

  int descriptor_;
  std::vector<int> stops_;
  bool stopped_ = false;
  std::string error_;
};

}  // namespace demask
