// What can be said of written texts without their author: measures of text alone, with their standard errors. Every
// function is pure. Tokens are those of the model that judges: characters, or pieces of words.
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

// The maximal runs of ASCII letters and apostrophes, in lower case, those cut off at the text's ends included.
std::vector<std::string> find_words(std::string_view text);

using WordSet = std::unordered_set<std::string>;

// The words of a list or of any other text, found as those of the texts that are measured.
WordSet collect_words(std::string_view text);

// The share of all words that are in `reference`. A ratio of two sums over texts, and so is its error: the words of one
// text depend on each other (Cochran, Sampling Techniques, 1977, section 6.4).
Estimate word_share(const std::vector<std::string>& texts, const WordSet& reference);

using Ids = std::vector<int64_t>;  // of the tokens of one text

// Different runs of n tokens among all such runs of a text, a share, averaged over texts. Texts shorter than n have
// none, and do not count.
Estimate distinct_ngrams(const std::vector<Ids>& texts, size_t n);

// Nats: the entropy of all texts' tokens taken together. The error is the jackknife's, leaving out one text at a time.
Estimate token_entropy(const std::vector<Ids>& texts);

// How many texts are mostly one token: more than half of their tokens.
int64_t count_repeating(const std::vector<Ids>& texts);

// What a judge made of texts.
struct Readings {
  std::vector<Ids> tokens;   // of each text
  std::vector<double> nats;  // a token, on average, of each text that has at least two
};

struct Quality {
  Estimate judge_nats;  // a token
  Estimate word_share;
  Estimate distinct_4grams;
  Estimate token_entropy;
  int64_t repeating = 0;  // texts that are mostly one token
};

Quality measure_quality(const std::vector<std::string>& texts, const Readings& readings, const WordSet& reference);

// What tables, files and pictures say of each measure.
struct Measure {
  const char* key;
  const char* column;
  const char* title;
  Estimate Quality::*estimate;
};

inline constexpr std::array<Measure, 4> measures{{
    {"judge_nats", "judge nats", "Judge: nats a token", &Quality::judge_nats},
    {"word_share", "words", "Share of words that the reference has", &Quality::word_share},
    {"distinct_4grams", "distinct4", "Share of 4-grams that differ", &Quality::distinct_4grams},
    {"token_entropy", "entropy", "Entropy of tokens, nats", &Quality::token_entropy},
}};

// `count` windows of `length` tokens at evenly spaced offsets, the first at the start and the last at the end; they
// overlap where the text is short. Throws Error(bad_usage) where it is shorter than one window.
std::vector<Ids> spaced_windows(const Ids& text, int64_t count, int64_t length);

}  // namespace demask::quality
