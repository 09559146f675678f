#include "bench/quality/frequencies.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace demask::quality {

void NgramCounts::add(const Ids& text, size_t n, int64_t times) {
  for (auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(n, text.size() + 1)); text.size() >= n; ++end) {
    of[Ids(end - static_cast<std::ptrdiff_t>(n), end)] += times;
    total += times;
    if (end == text.end()) {
      break;
    }
  }
}

void NgramCounts::add(const NgramCounts& other, int64_t times) {
  for (const auto& [ngram, count] : other.of) {
    of[ngram] += times * count;
  }
  total += times * other.total;
}

double jensen_shannon(const NgramCounts& left, const NgramCounts& right) {
  if (left.total == 0 || right.total == 0) {
    return Estimate{}.value;
  }
  const bool left_is_smaller = left.of.size() < right.of.size();
  const NgramCounts &small = left_is_smaller ? left : right, &large = left_is_smaller ? right : left;
  // An n-gram that only one of them has adds ln 2 times its share, so that only those of the smaller are looked at.
  double divergence = std::log(2.0);
  for (const auto& [ngram, count] : small.of) {
    const auto found = large.of.find(ngram);
    const double p = static_cast<double>(count) / static_cast<double>(small.total);
    const double q =
        found == large.of.end() ? 0 : static_cast<double>(found->second) / static_cast<double>(large.total);
    if (p > 0 && q > 0) {
      divergence -= (p * std::log1p(q / p) + q * std::log1p(p / q)) / 2;
    }
  }
  return std::max(divergence, 0.0);  // rounding may leave less than nothing
}

}  // namespace demask::quality
