// Numbers of lines, for people: "3-5, 9".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace demask {

class LineRanges {
 public:
  // Of a line behind all that were added before.
  void add(int64_t line);
  // The lines of `others`, which are behind these.
  void append(const LineRanges& others);

  bool empty() const { return ranges_.empty(); }
  std::string in_words() const;

 private:
  std::vector<std::pair<int64_t, int64_t>> ranges_;  // first and last
};

}  // namespace demask
