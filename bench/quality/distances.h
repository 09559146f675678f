// How far texts lie from held-out text: as distributions over texts, not only as means.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "bench/quality/frequencies.h"
#include "bench/quality/metrics.h"

namespace demask::quality {

// The area between two cumulative distributions, which is the mean distance of their quantiles: 1-Wasserstein. The
// lists may differ in length. NaN where one is empty.
double wasserstein(std::vector<double> left, std::vector<double> right);

// What each term of a distance compares, in this order.
inline constexpr std::array<const char*, 6> distance_terms{"judge_nats",   "word_share", "distinct_4grams",
                                                           "text_entropy", "unigrams",   "bigrams"};
using Terms = std::array<double, distance_terms.size()>;

struct Distances {
  std::array<Estimate, distance_terms.size()> terms;  // each in its own units
  Estimate sum;                                       // of the terms over their units
};

// Held-out texts, from which distances are measured. The first four terms are Wasserstein distances between the values
// of single texts: mean nats under the judge, share of words, share of different 4-grams, entropy of the text's own
// tokens. The last two are Jensen-Shannon divergences of all texts' frequencies of tokens and of pairs of tokens.
//
// A term's unit is how far a single held-out text lies from all of them: the standard deviation over the texts for the
// first four, the mean divergence of one text for the last two. So each term of the sum says how far the texts lie
// from held-out text as a whole, measured by what held-out texts differ among themselves, and no weight is chosen. A
// term in which the held-out texts are all alike is left out of the sum.
class Reference {
 public:
  // `words` must outlive it.
  Reference(const std::vector<std::string>& texts, const Readings& readings, const WordSet& words);

  const Terms& units() const { return units_; }

  // Errors are those over texts, by a jackknife that leaves out every twentieth (Kott, The delete-a-group jackknife,
  // 2001).
  Distances distances(const std::vector<std::string>& texts, const Readings& readings) const;

 private:
  // What a set of texts is compared by.
  struct Profile {
    std::array<std::vector<double>, 4> values;  // of the texts that have one
    std::array<NgramCounts, 2> ngrams;          // of 1 and 2 tokens

    void add_values(const Profile& other);
    void add_ngrams(const Profile& other, int64_t times);  // as NgramCounts::add
  };
  // Of the texts whose indices are `first`, `first + step` and so on.
  Profile profile(const std::vector<std::string>& texts, const Readings& readings, size_t first, size_t step) const;
  Terms terms_of(const Profile& texts) const;
  double sum(const Terms& terms) const;

  const WordSet& words_;
  Profile held_out_;
  Terms units_{};
};

}  // namespace demask::quality
