#include "bench/quality/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <set>

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

// How often each token stands there.
using Histogram = std::map<int64_t, int64_t>;

void add_tokens(Histogram& counts, const Ids& text, int64_t times = 1) {
  for (const int64_t token : text) {
    counts[token] += times;
  }
}

double entropy(const Histogram& counts) {
  double total = 0;
  for (const auto& [token, count] : counts) {
    total += static_cast<double>(count);
  }
  if (total == 0) {
    return Estimate{}.value;
  }
  double nats = 0;
  for (const auto& [token, count] : counts) {
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

WordSet collect_words(std::string_view text) {
  const std::vector<std::string> words = find_words(text);
  return {words.begin(), words.end()};
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

Estimate distinct_ngrams(const std::vector<Ids>& texts, size_t n) {
  std::vector<double> shares;
  for (const Ids& text : texts) {
    if (text.size() < n) {
      continue;
    }
    std::set<Ids> different;
    for (auto end = text.begin() + static_cast<std::ptrdiff_t>(n);; ++end) {
      different.emplace(end - static_cast<std::ptrdiff_t>(n), end);
      if (end == text.end()) {
        break;
      }
    }
    shares.push_back(static_cast<double>(different.size()) / static_cast<double>(text.size() - n + 1));
  }
  return estimate_mean(shares);
}

Estimate token_entropy(const std::vector<Ids>& texts) {
  Histogram total;
  for (const Ids& text : texts) {
    add_tokens(total, text);
  }
  Estimate estimate{entropy(total)};
  if (texts.size() > 1) {
    std::vector<double> without_one;
    for (const Ids& text : texts) {
      Histogram rest = total;
      add_tokens(rest, text, -1);
      without_one.push_back(entropy(rest));
    }
    const auto n = static_cast<double>(texts.size());
    estimate.standard_error = std::sqrt((n - 1) / n * scatter(without_one, mean_of(without_one)));
  }
  return estimate;
}

int64_t count_repeating(const std::vector<Ids>& texts) {
  return std::count_if(texts.begin(), texts.end(), [](const Ids& text) {
    Histogram counts;
    add_tokens(counts, text);
    return std::any_of(counts.begin(), counts.end(),
                       [&](const auto& entry) { return 2 * entry.second > static_cast<int64_t>(text.size()); });
  });
}

Quality measure_quality(const std::vector<std::string>& texts, const Readings& readings, const WordSet& reference) {
  return {estimate_mean(readings.nats), word_share(texts, reference), distinct_ngrams(readings.tokens, 4),
          token_entropy(readings.tokens), count_repeating(readings.tokens)};
}

std::vector<Ids> spaced_windows(const Ids& text, int64_t count, int64_t length) {
  const auto size = static_cast<int64_t>(text.size());
  if (size < length) {
    fail(ExitCode::bad_usage, "the held-out text has {} tokens, fewer than the {} of a sample. Name a longer one.",
         size, length);
  }
  std::vector<Ids> windows;
  for (int64_t i = 0; i < count; ++i) {
    const auto window = text.begin() + (count > 1 ? (size - length) * i / (count - 1) : 0);
    windows.emplace_back(window, window + length);
  }
  return windows;
}

}  // namespace demask::quality
