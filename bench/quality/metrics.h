// What can be said of written texts without their author: measures of text alone, with their standard errors. Every
// function is pure. Characters are bytes, for the texts here are ASCII.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace demask::quality {

// NaN where the texts do not give it: a value of no texts, an error of a single one.
struct Estimate {
  double value = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();
};

// The mean of independent values, and their standard deviation over sqrt(n).
Estimate estimate_mean(const std::vector<double>& values);

// The maximal runs of letters and apostrophes, in lower case, those cut off at the text's ends included.
std::vector<std::string> find_words(std::string_view text);

using WordSet = std::unordered_set<std::string>;

// One word a line.
WordSet parse_word_list(std::string_view text);

// The share of all words that are in `reference`. A ratio of two sums over texts, and so is its error: the words of one
// text depend on each other (Cochran, Sampling Techniques, 1977, section 6.4).
Estimate word_share(const std::vector<std::string>& texts, const WordSet& reference);

// Different runs of n characters among all such runs of a text, a share, averaged over texts. Texts shorter than n have
// none, and do not count.
Estimate distinct_ngrams(const std::vector<std::string>& texts, size_t n);

// Nats: the entropy of all texts' characters taken together. The error is the jackknife's, leaving out one text at a
// time.
Estimate character_entropy(const std::vector<std::string>& texts);

struct Quality {
  Estimate judge_nats;  // a character
  Estimate word_share;
  Estimate distinct_4grams;
  Estimate character_entropy;
};

// nats[i] is what a judge needed for each character of texts[i], on average.
Quality measure_quality(const std::vector<std::string>& texts, const std::vector<double>& nats,
                        const WordSet& reference);

// What tables, files and pictures say of each measure.
struct Measure {
  const char* key;
  const char* column;
  const char* title;
  Estimate Quality::*estimate;
};

inline constexpr std::array<Measure, 4> measures{{
    {"judge_nats", "judge nats", "Judge: nats a character", &Quality::judge_nats},
    {"word_share", "words", "Share of words that Shakespeare has", &Quality::word_share},
    {"distinct_4grams", "distinct4", "Share of 4-grams that differ", &Quality::distinct_4grams},
    {"character_entropy", "entropy", "Entropy of characters, nats", &Quality::character_entropy},
}};

// `count` windows of `length` characters at evenly spaced offsets, the first at the start and the last at the end; they
// overlap where the text is short. Throws Error(bad_usage) where it is shorter than one window.
std::vector<std::string> spaced_windows(const std::string& text, int64_t count, int64_t length);

}  // namespace demask::quality
