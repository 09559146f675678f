#include "engine/collapse_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>

#include "engine/sample_text.h"
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

constexpr size_t n = 4;
constexpr size_t window_length = 256;  // longer texts repeat more 4-grams without having collapsed
constexpr size_t shortest_window = 64;
constexpr int64_t windows_of_a_mean = 8;  // fewer are one passage, which may be a song

// The expected share of different 4-grams where tokens are drawn evenly from so many.
double distinct_at_random(int64_t vocabulary_size) {
  const double possible = std::pow(static_cast<double>(std::max<int64_t>(vocabulary_size, 1)), n);
  constexpr double drawn = window_length - n + 1;
  // possible * (1 - (1 - 1 / possible)^drawn) / drawn, exact where possible is large
  return possible <= 1 ? 1 / drawn : -possible * std::expm1(drawn * std::log1p(-1 / possible)) / drawn;
}

const char* advice_for(std::string_view strategy) {
  return strategy == "best" ? "--strategy=ancestral, which takes nothing back, does not repeat itself"
                            : "--strategy=best repeats itself less";
}

}  // namespace

double distinct_4grams(const std::vector<int64_t>& tokens) {
  if (tokens.size() < n) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  std::vector<std::array<int64_t, n>> all(tokens.size() - n + 1);
  for (size_t start = 0; start < all.size(); ++start) {
    std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(start), n, all[start].begin());
  }
  std::sort(all.begin(), all.end());
  const auto different = std::unique(all.begin(), all.end()) - all.begin();
  return static_cast<double>(different) / static_cast<double>(all.size());
}

CollapseBounds collapse_bounds(bool characters, int64_t vocabulary_size) {
  const double at_random = distinct_at_random(vocabulary_size);
  return characters ? CollapseBounds{0.4 * at_random, 0.7 * at_random}
                    : CollapseBounds{0.55 * at_random, 0.85 * at_random};
}

CollapseWatch::CollapseWatch(const Context& context)
    : context_(context),
      watches_(context.config.sampling_method == SamplingMethod::diffusion && !context.config.score),
      bounds_(collapse_bounds(context.vocabulary->characters(), static_cast<int64_t>(context.allowed.size()))) {}

void CollapseWatch::look_at(const PreparedPrompt& prompt, const std::vector<int64_t>& tokens) {
  if (!watches_) {
    return;
  }
  const std::vector<bool> given = prompt.given();
  const size_t end = text_length(context_, prompt, tokens);
  bool collapsed = false;
  std::vector<int64_t> window;
  for (size_t position = 0; position <= end; ++position) {
    const bool drawn = position < end && !given[position];
    if (!drawn || window.size() == window_length) {
      if (window.size() >= shortest_window) {
        const double distinct = distinct_4grams(window);
        distinct_ += distinct;
        ++windows_;
        collapsed = collapsed || distinct < bounds_.window;
      }
      window.clear();
    }
    if (drawn) {
      window.push_back(tokens[position]);
    }
  }
  ++texts_;
  collapsed_texts_ += collapsed ? 1 : 0;
}

std::optional<std::string> CollapseWatch::notice() const {
  const double distinct = windows_ > 0 ? distinct_ / static_cast<double>(windows_) : 1;
  if (collapsed_texts_ == 0 && (windows_ < windows_of_a_mean || distinct >= bounds_.mean)) {
    return {};
  }
  const std::string which =
      collapsed_texts_ == 0 ? "the texts" : fmt::format("{} of {} texts", collapsed_texts_, texts_);
  return fmt::format(
      "{} collapsed into repetition: {:.0f}% of all 4-grams of tokens repeat another of the same text, far more than "
      "in real texts. {}.",
      which, 100 * (1 - distinct), advice_for(context_.config.diffusion.strategy->name));
}

}  // namespace demask
