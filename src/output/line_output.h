// JSON lines where no run file is: on a stream, or in a file that grows with a list whose end nobody knows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "output/output_file.h"

namespace demask {

// The value of --output that stands for JSON lines on stdout.
inline constexpr const char* standard_output_name = "-";

// stdout, whose reader gets lines of samples alone, and no header.
std::unique_ptr<Output> open_line_stream();

// A file, which begins anew with the line `header`, locked against other runs where it is a regular one; pipes, and
// whatever stdout or stderr already go to, are written straight. Each append is there when it returns. Throws
// Error(failed) where it cannot be written or another run writes it.
std::unique_ptr<Output> open_growing_file(const std::string& path, const std::string& header);

// Keeps lines until their turn.
class LinesInTurn {
 public:
  explicit LinesInTurn(std::unique_ptr<Output> output) : output_(std::move(output)) {}

  void add(int64_t index, std::string line) { waiting_.emplace(index, std::move(line)); }
  // Writes those with an index below `frontier`, in the order of the indices, all at once. Throws Error(failed).
  void write_below(int64_t frontier);
  void finish() { output_->finish(); }

 private:
  std::unique_ptr<Output> output_;
  std::map<int64_t, std::string> waiting_;
};

}  // namespace demask
