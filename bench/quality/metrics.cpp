#include "bench/quality/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/error.h"

namespace demask::quality {
namespace {

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

// Not the locale's: the words of the reference were found in the same way.
bool belongs_to_word(char c) {
  return is_upper(c) || (c >= 'a' && c <= 'z') || c == '\'';
}

char to_lower(char c) {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

double square(double x) {
  return x * x;
}

// Sum of squared deviations from the mean.
double scatter(const std::vector<double>& values, double mean) {
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [&](double sum, double value) { return sum + square(value - mean); });
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Words of one text.
struct WordCounts {
  double all = 0;
  double known = 0;
};

WordCounts count_words(std::string_view text, const WordSet& reference) {
  WordCounts counts;
  for (const std::string& word : find_words(text)) {
    counts.all += 1;
    counts.known += reference.count(word) != 0 ? 1 : 0;
  }
  return counts;
}

// How often each byte stands there.
using Histogram = std::array<int64_t, 256>;

Histogram count_characters(std::string_view text) {
  Histogram counts{};
  for (const char c : text) {
    ++counts[static_cast<unsigned char>(c)];
  }
  return counts;
}

double entropy(const Histogram& counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  if (total == 0) {
    return Estimate{}.value;
  }
  double nats = 0;
  for (const int64_t count : counts) {
    if (count > 0) {
      const double share = static_cast<double>(count) / total;
      nats -= share * std::log(share);
    }
  }
  return nats;
}

}  // namespace

Estimate estimate_mean(const std::vector<double>& values) {
  Estimate estimate;
  const auto n = static_cast<double>(values.size());
  if (!values.empty()) {
    estimate.value = mean_of(values);
  }
  if (values.size() > 1) {
    estimate.standard_error = std::sqrt(scatter(values, estimate.value) / (n - 1) / n);
  }
  return estimate;
}

std::vector<std::string> find_words(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const char c : text) {
    const bool was_inside = inside;
    inside = belongs_to_word(c);
    if (inside && !was_inside) {
      words.emplace_back();
    }
    if (inside) {
      words.back() += to_lower(c);
    }
  }
  return words;
}

WordSet parse_word_list(std::string_view text) {
  WordSet words;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) {
      words.emplace(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

Estimate word_share(const std::vector<std::string>& texts, const WordSet& reference) {
  std::vector<WordCounts> counts;
  WordCounts total;
  for (const std::string& text : texts) {
    counts.push_back(count_words(text, reference));
    total.all += counts.back().all;
    total.known += counts.back().known;
  }
  Estimate estimate;
  if (total.all == 0) {
    return estimate;
  }
  estimate.value = total.known / total.all;
  if (texts.size() > 1) {
    double residuals = 0;
    for (const WordCounts& one : counts) {
      residuals += square(one.known - estimate.value * one.all);
    }
    const auto n = static_cast<double>(texts.size());
    estimate.standard_error = std::sqrt(n / (n - 1) * residuals) / total.all;
  }
  return estimate;
}

Estimate distinct_ngrams(const std::vector<std::string>& texts, size_t n) {
  std::vector<double> shares;
  for (const std::string_view text : texts) {
    if (text.size() < n) {
      continue;
    }
    const size_t all = text.size() - n + 1;
    std::unordered_set<std::string_view> different;
    for (size_t i = 0; i < all; ++i) {
      different.insert(text.substr(i, n));
    }
    shares.push_back(static_cast<double>(different.size()) / static_cast<double>(all));
  }
  return estimate_mean(shares);
}

Estimate character_entropy(const std::vector<std::string>& texts) {
  Histogram total{};
  for (const std::string& text : texts) {
    const Histogram counts = count_characters(text);
    std::transform(total.begin(), total.end(), counts.begin(), total.begin(), std::plus<>());
  }
  Estimate estimate{entropy(total)};
  if (texts.size() > 1) {
    std::vector<double> without_one;
    for (const std::string& text : texts) {
      Histogram rest = count_characters(text);
      std::transform(total.begin(), total.end(), rest.begin(), rest.begin(), std::minus<>());
      without_one.push_back(entropy(rest));
    }
    const auto n = static_cast<double>(texts.size());
    estimate.standard_error = std::sqrt((n - 1) / n * scatter(without_one, mean_of(without_one)));
  }
  return estimate;
}

Quality measure_quality(const std::vector<std::string>& texts, const std::vector<double>& nats,
                        const WordSet& reference) {
  return {estimate_mean(nats), word_share(texts, reference), distinct_ngrams(texts, 4), character_entropy(texts)};
}

std::vector<std::string> spaced_windows(const std::string& text, int64_t count, int64_t length) {
  const auto size = static_cast<int64_t>(text.size());
  if (size < length) {
    fail(ExitCode::bad_usage, "the held-out text has {} characters, fewer than the {} of a sample. Name a longer one.",
         size, length);
  }
  std::vector<std::string> windows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t offset = count > 1 ? (size - length) * i / (count - 1) : 0;
    windows.push_back(text.substr(static_cast<size_t>(offset), static_cast<size_t>(length)));
  }
  return windows;
}

}  // namespace demask::quality
