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

#include "core/pipe_signal.h"
#include "core/text.h"
#include "core/utf8.h"
#include "sampling/sample.h"

namespace demask {

// Text in quotes as Python's repr writes it, in double quotes where it holds a single quote and no double one.
inline std::string repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const std::string_view point : characters_of(text)) {
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
  const PipeSignalBlocked blocked;
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stream));
  static_cast<void>(std::fflush(stream));
}

}  // namespace demask
