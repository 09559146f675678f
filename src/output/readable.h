// What the writer and the views share to show characters and count them, and how the views print.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sampling/sample.h"

namespace demask {

// The code points of UTF-8 text, each as its bytes.
inline std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> points;
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text.front());
    const size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    points.push_back(text.substr(0, length));
    text.remove_prefix(points.back().size());
  }
  return points;
}

// The Unicode value of one code point given as UTF-8.
inline uint32_t code_point_value(std::string_view point) {
  const auto lead = static_cast<unsigned char>(point.front());
  uint32_t value = point.size() == 1 ? lead : lead & (0xFFU >> (point.size() + 1));
  for (const char next : point.substr(1)) {
    value = value << 6 | (static_cast<unsigned char>(next) & 0x3FU);
  }
  return value;
}

// One code point as it is, or escaped as Python does where it would not show: control characters, and the spaces and
// direction marks that could make a terminal lie about the text.
inline std::string visible(std::string_view point) {
  const uint32_t value = code_point_value(point);
  switch (value) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  if (value < 0x20 || (value >= 0x7F && value <= 0xA0) || value == 0xAD) {
    return fmt::format("\\x{:02x}", value);
  }
  if ((value >= 0x2000 && value <= 0x200F) || (value >= 0x2028 && value <= 0x202F) ||
      (value >= 0x205F && value <= 0x206F) || value == 0x3000 || value == 0xFEFF) {
    return fmt::format("\\u{:04x}", value);
  }
  return std::string(point);
}

// Text in quotes as Python's repr writes it, in double quotes where it holds a single quote and no double one.
inline std::string repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const std::string_view point : code_points(text)) {
    if (point.front() == '\\' || point.front() == quote) {
      result += '\\';
    }
    result += visible(point);
  }
  return result + quote;
}

// Distinct items with their counts, as Python's Counter.most_common: largest count first, ties by first appearance.
template <typename Item>
std::vector<std::pair<Item, int64_t>> most_common(const std::vector<Item>& items, size_t limit) {
  std::vector<std::pair<Item, int64_t>> counts;
  std::unordered_map<Item, size_t> place;
  for (const Item& item : items) {
    const auto [entry, is_new] = place.try_emplace(item, counts.size());
    if (is_new) {
      counts.emplace_back(item, 0);
    }
    ++counts[entry->second].second;
  }
  std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  counts.resize(std::min(limit, counts.size()));
  return counts;
}

// "3/50", or "3" where nobody knows how many there will be.
inline std::string step_of_steps(const StepView& view) {
  return view.steps > 0 ? fmt::format("{}/{}", view.step + 1, view.steps) : fmt::format("{}", view.step + 1);
}

// The share of a batch that draws `tokens` tokens that is done after a step: by its steps, or where nobody knows how
// many there will be, by its filled positions.
inline double share_done(const StepView& view, int64_t tokens) {
  if (view.steps > 0) {
    return static_cast<double>(view.step + 1) / static_cast<double>(view.steps);
  }
  return tokens > 0 ? 1 - static_cast<double>(view.masked_after) / static_cast<double>(tokens) : 0.0;
}

// Prints at once. A failure is left unreported: losing sight of a run is no reason to end it.
inline void show(std::FILE* stream, const std::string& text) {
  static_cast<void>(std::fputs(text.c_str(), stream));
  static_cast<void>(std::fflush(stream));
}

}  // namespace demask
