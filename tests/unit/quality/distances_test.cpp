#include "bench/quality/distances.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bench/quality/frequencies.h"
#include "tests/support/catch.h"

using Catch::Approx;
using namespace demask::quality;
using Texts = std::vector<std::string>;

namespace {

const double none = std::numeric_limits<double>::quiet_NaN();

NgramCounts counts(const std::vector<Ids>& texts, size_t n) {
  NgramCounts counts;
  for (const Ids& text : texts) {
    counts.add(text, n);
  }
  return counts;
}

// Each byte a token.
Readings readings_of(const Texts& texts, std::vector<double> nats) {
  Readings readings{{}, std::move(nats)};
  for (const std::string& text : texts) {
    readings.tokens.emplace_back(text.begin(), text.end());
  }
  return readings;
}

}  // namespace

TEST_CASE("the Wasserstein distance is the mean distance of quantiles") {
  CHECK(wasserstein({1, 2, 3}, {3, 1, 2}) == 0);
  CHECK(wasserstein({1, 2, 3}, {2, 3, 4}) == Approx(1));
  CHECK(wasserstein({0, 0}, {1, 3}) == Approx(2));
  CHECK(wasserstein({0, 2}, {1}) == Approx(1));  // means are alike, distributions are not
  // Half of the mass goes from 0 to 1, a sixth from 1 to 0's third quantile: 0 against 0, 0 and 3.
  CHECK(wasserstein({0}, {0, 0, 3}) == Approx(1));
  // Quantiles 0 | 0, 0 | 3, 4 | 3, 4 | 4 over a third, a sixth, a sixth and a third.
  CHECK(wasserstein({0, 4}, {0, 3, 4}) == Approx(3.0 / 6 + 1.0 / 6));
  CHECK(wasserstein({4, 0}, {4, 3, 0}) == wasserstein({0, 3, 4}, {0, 4}));
  CHECK(std::isnan(wasserstein({}, {1})));
}

TEST_CASE("n-grams are counted within texts, and can be taken out again") {
  NgramCounts pairs = counts({{1, 2, 1, 2}, {7}}, 2);
  CHECK(pairs.total == 3);
  CHECK(pairs.of.at({1, 2}) == 2);
  CHECK(pairs.of.at({2, 1}) == 1);
  CHECK(counts({{1, 2}, {}}, 3).total == 0);
  CHECK(counts({{1, 2}}, 2).total == 1);
  pairs.add(counts({{1, 2}}, 2), -1);
  CHECK(pairs.total == 2);
  CHECK(pairs.of.at({1, 2}) == 1);
}

TEST_CASE("frequencies that are alike diverge by nothing, those that share nothing by ln 2") {
  CHECK(jensen_shannon(counts({{1, 2}}, 1), counts({{2, 1, 1, 2}}, 1)) == Approx(0).margin(1e-12));
  CHECK(jensen_shannon(counts({{1, 2}}, 1), counts({{3}}, 1)) == Approx(std::log(2)));
  CHECK(std::isnan(jensen_shannon(counts({{1}}, 1), counts({{1}}, 2))));
}

TEST_CASE("the divergence is the mean of both relative entropies to their middle") {
  // {1: 1} against {1: 1/2, 2: 1/2}; the middle is {1: 3/4, 2: 1/4}.
  const double expected = (std::log(1 / 0.75) + 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25)) / 2;
  CHECK(jensen_shannon(counts({{1}}, 1), counts({{1, 2}}, 1)) == Approx(expected));
  CHECK(jensen_shannon(counts({{1, 2}}, 1), counts({{1}}, 1)) == Approx(expected));
}

TEST_CASE("n-grams that were all taken out count as if they had never been there") {
  NgramCounts left = counts({{1, 2}, {3}}, 1);
  left.add(Ids{3}, 1, -1);
  CHECK(jensen_shannon(left, counts({{1, 3}}, 1)) == Approx(jensen_shannon(counts({{1, 2}}, 1), counts({{1, 3}}, 1))));
}

TEST_CASE("held-out texts are at no distance from themselves, whatever their order") {
  const Texts texts = {"the cat sat", "a dog ran to it", "no word of aaaaaaa"};
  const WordSet words = {"the", "cat", "a", "it", "of"};
  const Reference reference(texts, readings_of(texts, {1, 2, 4}), words);
  const Texts other = {texts[2], texts[0], texts[1]};
  const Distances nothing = reference.distances(other, readings_of(other, {4, 1, 2}));
  CHECK(nothing.sum.value == Approx(0).margin(1e-9));
  CHECK(reference.units()[0] == Approx(std::sqrt(7.0 / 3)));  // the standard deviation of 1, 2 and 4
}

TEST_CASE("each term of a distance is counted in what single held-out texts differ by") {
  // Two held-out texts that share no token: each alone diverges by the same from both, {1} against {1/2, 1/2}.
  const Texts held_out = {"aaaaa", "bbbb b"};
  const WordSet words = {"aaaaa"};
  const Reference reference(held_out, readings_of({"aaaaa", "bbbbb"}, {1, 3}), words);
  const double half = (std::log(1 / 0.75) + 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25)) / 2;
  CHECK(reference.units()[0] == Approx(std::sqrt(2)));
  CHECK(reference.units()[1] == Approx(std::sqrt(0.5)));  // shares of words of 1 and 0
  CHECK(reference.units()[4] == Approx(half));
  CHECK(reference.units()[5] == Approx(half));
}

TEST_CASE("the sum of a distance is that of its terms over their units, its error the jackknife's over texts") {
  const Texts held_out = {"aab cab", "abc abc cc", "ba abc cba"};
  const WordSet words = {"aab", "abc", "ba"};
  const Reference reference(held_out, readings_of(held_out, {1, 2, 3}), words);
  const Texts texts = {"abc abc", "cab"};
  const Distances distances = reference.distances(texts, readings_of(texts, {5, 7}));
  double sum = 0;
  for (size_t i = 0; i < distance_terms.size(); ++i) {
    sum += distances.terms[i].value / reference.units()[i];
  }
  CHECK(distances.sum.value == Approx(sum));
  CHECK(distances.terms[0].value == Approx(4));           // of 5 and 7 from 1, 2 and 3
  CHECK(distances.terms[0].standard_error == Approx(1));  // 5 or 3 without one of the two
  const Distances one = reference.distances({"abc abc"}, readings_of({"abc abc"}, {5}));
  CHECK(std::isnan(one.sum.standard_error));
}

TEST_CASE("what is the same in all held-out texts is left out of the sum") {
  const Texts held_out = {"ab", "ab"};
  const WordSet words;
  const Reference reference(held_out, readings_of(held_out, {1, 3}), words);
  CHECK(reference.units()[1] == 0);
  const Distances distances = reference.distances({"ab"}, readings_of({"ab"}, {2}));
  CHECK(distances.sum.value ==
        Approx(1 / std::sqrt(2)));  // 2 is 1 from both, and their standard deviation the root of 2
}

TEST_CASE("texts that the judge could not read, or without a word, leave the others' values alone") {
  const Texts held_out = {"aab cab", "abc bca cc"};
  const WordSet words = {"aab"};
  const Reference reference(held_out, readings_of(held_out, {1, 2}), words);
  const Texts texts = {"aab cab", "...."};
  const Distances distances = reference.distances(texts, readings_of(texts, {1.5, none}));
  CHECK(distances.terms[0].value == Approx(0.5));
  CHECK(distances.terms[1].value == Approx(0.25));  // 1/2 against 1/2 and 0
}
