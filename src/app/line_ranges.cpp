#include "app/line_ranges.h"

#include <fmt/format.h>

namespace demask {

void LineRanges::add(int64_t line) {
  if (!ranges_.empty() && ranges_.back().second + 1 == line) {
    ++ranges_.back().second;
  } else {
    ranges_.emplace_back(line, line);
  }
}

void LineRanges::append(const LineRanges& others) {
  for (const auto& [first, last] : others.ranges_) {
    add(first);
    ranges_.back().second = last;
  }
}

std::string LineRanges::in_words() const {
  std::string words;
  for (const auto& [first, last] : ranges_) {
    words += words.empty() ? "" : ", ";
    words += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
  }
  return words;
}

}  // namespace demask
