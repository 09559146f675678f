// What the value of a setting may be.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace demask {

// A number, or each number of a list.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool above_low = false;  // `low` itself is not allowed
};

// Sums and products of two counts stay well inside int64.
inline constexpr double largest_count = 1e9;
constexpr Range count_from(double low) {
  return {low, largest_count};
}
inline constexpr Range share{0.0, 1.0};

inline bool permits(const Range& range, double number) {
  return number <= range.high && (range.above_low ? number > range.low : number >= range.low);
}

// In words that follow "a number": " from 0 to 1", ", at least 0"; empty where every number is allowed.
inline std::string in_words(const Range& range) {
  const bool below = std::isfinite(range.low), above = std::isfinite(range.high);
  const auto number = [](double bound) { return fmt::format("{:.0f}", bound); };
  if (!below) {
    return above ? ", at most " + number(range.high) : "";
  }
  if (range.above_low) {
    return " above " + number(range.low) + (above ? " and at most " + number(range.high) : "");
  }
  return above ? " from " + number(range.low) + " to " + number(range.high) : ", at least " + number(range.low);
}

// One of a few words.
using Choices = std::vector<std::string_view>;

// Whatever `matches` says, described in words that complete "must be".
struct Form {
  std::string_view description;
  bool (*matches)(const std::string& text);
};

using Rule = std::variant<std::monostate, Range, Choices, Form>;

}  // namespace demask
