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
  double standard_error = std::numeric_limits<double>::quiet_NaN();  // over texts
  double seeds_error = std::numeric_limits<double>::quiet_NaN();     // over seeds, where there are several
};

// The mean of independent values, and their standard deviation over sqrt(n). Those that are not numbers do not count.
Estimate estimate_mean(std::vector<double> values);

// A statistic's standard error from its values without each of n texts, or of n equal groups of texts: the jackknife's.
double jackknife_error(const std::vector<double>& without_one);

// The maximal runs of ASCII letters and apostrophes that have a letter, in lower case, those cut off at the text's ends
// included. An apostrophe between letters belongs to the word. One at an end may be its own ('tis, o') or a single
// quotation mark ('Now), which no rule for the text alone tells apart: word_share asks the list.
std::vector<std::string> find_words(std::string_view text);

using WordSet = std::unordered_set<std::string>;

// The words of a list or of any other text, found as those of the texts that are measured.
WordSet collect_words(std::string_view text);

// The share of all words that are in `reference`: without the apostrophes at their ends, or with one of them at either
// end or both. A ratio of two sums over texts, and so is its error: the words of one
// text depend on each other (Cochran, Sampling Techniques, 1977, section 6.4).
Estimate word_share(const std::vector<std::string>& texts, const WordSet& reference);

using Ids = std::vector<int64_t>;  // of the tokens of one text

// distinct_4grams of each text.
std::vector<double> distinct_shares(const std::vector<Ids>& texts);

// How many of the values that are numbers lie below the bound, a share.
Estimate share_below(std::vector<double> values, double bound);

// Nats: the entropy of all texts' tokens taken together. The error is the jackknife's, leaving out one text at a time.
Estimate token_entropy(const std::vector<Ids>& texts);

// How many texts are mostly one token: more than half of their tokens.
int64_t count_repeating(const std::vector<Ids>& texts);

// How many tokens the longest stretch has that says one thing again at once: a phrase of 1 to 64 tokens twice or more,
// and what there is of it again after that. 0 where nothing is repeated at once.
int64_t longest_repeated_run(const Ids& text);

// What a judge made of texts, one entry a text.
struct Readings {
  std::vector<Ids> tokens;
  std::vector<double> nats;  // a token, on average; NaN for a text of less than two
};

struct Quality {
  Estimate judge_nats;  // a token
  Estimate word_share;
  Estimate distinct_4grams;
  Estimate token_entropy;
  Estimate repetitive;      // texts whose different 4-grams are fewer than a bound, a share
  Estimate distance;        // from held-out text: Distances::sum
  int64_t repeating = 0;    // texts that are mostly one token
  int64_t longest_run = 0;  // longest_repeated_run of the worst text
};

// Below this share of different 4-grams a text of 256 tokens repeats itself as real text hardly ever does: of all
// windows of tiny Shakespeare, 4357 of 256 characters, one lies below 0.6; of 1203 of held-out English prose, 256
// pieces each, none below 0.8.
inline constexpr double least_distinct_characters = 0.6, least_distinct_pieces = 0.8;

// All but the distance, and without errors over seeds.
Quality measure_quality(const std::vector<std::string>& texts, const Readings& readings, const WordSet& reference,
                        double least_distinct);

// The error of a mean over seeds, from what each seed's texts give by themselves.
void estimate_seeds_errors(Quality& quality, const std::vector<Quality>& of_seeds);

// What tables, files and pictures say of each measure.
struct Measure {
  const char* key;
  const char* column;
  const char* title;
  Estimate Quality::*estimate;
};

inline constexpr std::array<Measure, 6> measures{{
    {"judge_nats", "judge nats", "Judge: nats a token", &Quality::judge_nats},
    {"word_share", "words", "Share of words that the reference has", &Quality::word_share},
    {"distinct_4grams", "distinct4", "Share of 4-grams that differ", &Quality::distinct_4grams},
    {"token_entropy", "entropy", "Entropy of tokens, nats", &Quality::token_entropy},
    {"repetitive", "repetitive", "Share of texts that repeat themselves", &Quality::repetitive},
    {"distance", "distance", "Distance from held-out text", &Quality::distance},
}};

// Held-out text in two parts that share nothing.
struct HeldOutWindows {
  std::vector<Ids> reference;  // what distances are measured from
  std::vector<Ids> measured;   // the row of a table
};

// The text cut into windows of `length` tokens, of which those before and after each second cut go to one part each: at
// most `most` to either, spread evenly over the text. Throws Error(bad_usage) where it is shorter than two windows.
HeldOutWindows held_out_windows(const Ids& text, int64_t length, int64_t most);

}  // namespace demask::quality
