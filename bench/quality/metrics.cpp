#include "bench/quality/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "engine/collapse_watch.h"

namespace demask::quality {
namespace {

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

constexpr char mark = '\'';  // an apostrophe, or a quotation mark

// Not the locale's: the words of the reference were found in the same way.
bool is_letter(char c) {
  return is_upper(c) || (c >= 'a' && c <= 'z');
}

bool belongs_to_word(char c) {
  return is_letter(c) || c == mark;
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

// Whether the list has the word: without the marks around it, or with one of them at either end or both.
bool knows(const WordSet& reference, const std::string& word) {
  const size_t first = word.find_first_not_of(mark), last = word.find_last_not_of(mark);
  const size_t most_before = std::min<size_t>(first, 1), most_after = std::min<size_t>(word.size() - 1 - last, 1);
  for (size_t before = 0; before <= most_before; ++before) {
    for (size_t after = 0; after <= most_after; ++after) {
      if (reference.count(word.substr(first - before, last - first + 1 + before + after)) != 0) {
        return true;
      }
    }
  }
  return false;
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
    counts.known += knows(reference, word) ? 1 : 0;
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

Estimate estimate_mean(std::vector<double> values) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double value) { return std::isnan(value); }),
               values.end());
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

double jackknife_error(const std::vector<double>& without_one) {
  if (without_one.size() < 2) {
    return Estimate{}.standard_error;
  }
  const auto n = static_cast<double>(without_one.size());
  return std::sqrt((n - 1) / n * scatter(without_one, mean_of(without_one)));
}

std::vector<std::string> find_words(std::string_view text) {
  std::vector<std::string> words;
  for (size_t start = 0, end = 0; start < text.size(); start = end + 1) {
    bool has_letter = false;
    std::string run;
    for (end = start; end < text.size() && belongs_to_word(text[end]); ++end) {
      has_letter |= is_letter(text[end]);
      run += to_lower(text[end]);
    }
    if (has_letter) {
      words.push_back(std::move(run));
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

std::vector<double> distinct_shares(const std::vector<Ids>& texts) {
  std::vector<double> shares;
  shares.reserve(texts.size());
  for (const Ids& text : texts) {
    shares.push_back(distinct_4grams(text));
  }
  return shares;
}

Estimate share_below(std::vector<double> values, double bound) {
  for (double& value : values) {
    value = std::isnan(value) ? value : value < bound ? 1 : 0;
  }
  return estimate_mean(values);
}

Estimate token_entropy(const std::vector<Ids>& texts) {
  Histogram total;
  for (const Ids& text : texts) {
    add_tokens(total, text);
  }
  std::vector<double> without_one;
  for (const Ids& text : texts) {
    Histogram rest = total;
    add_tokens(rest, text, -1);
    without_one.push_back(entropy(rest));
  }
  return {entropy(total), jackknife_error(without_one)};
}

int64_t longest_repeated_run(const Ids& text) {
  constexpr size_t longest_phrase = 64;  // tokens
  size_t longest = 0;
  for (size_t period = 1; period <= longest_phrase && period < text.size(); ++period) {
    size_t alike = 0;  // positions in a row that hold what stands a period before them
    for (size_t i = period; i < text.size(); ++i) {
      alike = text[i] == text[i - period] ? alike + 1 : 0;
      if (alike >= period) {
        longest = std::max(longest, alike + period);
      }
    }
  }
  return static_cast<int64_t>(longest);
}

int64_t count_repeating(const std::vector<Ids>& texts) {
  return std::count_if(texts.begin(), texts.end(), [](const Ids& text) {
    Histogram counts;
    add_tokens(counts, text);
    return std::any_of(counts.begin(), counts.end(),
                       [&](const auto& entry) { return 2 * entry.second > static_cast<int64_t>(text.size()); });
  });
}

Quality measure_quality(const std::vector<std::string>& texts, const Readings& readings, const WordSet& reference,
                        double least_distinct) {
  const std::vector<double> distinct = distinct_shares(readings.tokens);
  Quality quality;
  quality.judge_nats = estimate_mean(readings.nats);
  quality.word_share = word_share(texts, reference);
  quality.distinct_4grams = estimate_mean(distinct);
  quality.token_entropy = token_entropy(readings.tokens);
  quality.repetitive = share_below(distinct, least_distinct);
  quality.repeating = count_repeating(readings.tokens);
  for (const Ids& text : readings.tokens) {
    quality.longest_run = std::max(quality.longest_run, longest_repeated_run(text));
  }
  return quality;
}

void estimate_seeds_errors(Quality& quality, const std::vector<Quality>& of_seeds) {
  for (const Measure& measure : measures) {
    std::vector<double> values;
    for (const Quality& one : of_seeds) {
      values.push_back((one.*measure.estimate).value);
    }
    (quality.*measure.estimate).seeds_error = estimate_mean(values).standard_error;
  }
}

HeldOutWindows held_out_windows(const Ids& text, int64_t length, int64_t most) {
  const int64_t pairs = static_cast<int64_t>(text.size()) / (2 * length);
  if (pairs < 1) {
    fail(ExitCode::bad_usage,
         "the held-out text has {} tokens, fewer than two samples of {}: one to measure, one to measure against. Name "
         "a longer one.",
         text.size(), length);
  }
  HeldOutWindows windows;
  const int64_t count = std::min(pairs, most);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t pair = count > 1 ? (pairs - 1) * i / (count - 1) : 0;  // spread over the text
    const auto start = text.begin() + 2 * length * pair;
    windows.reference.emplace_back(start, start + length);
    windows.measured.emplace_back(start + length, start + 2 * length);
  }
  return windows;
}

}  // namespace demask::quality
