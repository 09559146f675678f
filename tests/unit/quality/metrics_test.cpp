#include "bench/quality/metrics.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using Catch::Approx;
using namespace demask::quality;
using demask::testing::read_file;
using Texts = std::vector<std::string>;

namespace {

const std::string data = std::string(DEMASK_SOURCE_DIR) + "/bench/quality/data/";

WordSet shipped_words() {
  return collect_words(read_file(data + "words.txt"));
}

// Each byte a token.
Ids ids(const std::string& text) {
  return {text.begin(), text.end()};
}

std::vector<Ids> ids_of(const Texts& texts) {
  std::vector<Ids> all;
  for (const std::string& text : texts) {
    all.push_back(ids(text));
  }
  return all;
}

// The text's words by expressions, each as the list has it, or without the marks at its ends where it has not.
std::string words_as_listed(const std::string& text, const WordSet& words) {
  static const std::regex quoted("('*)([a-z]+(?:'+[a-z]+)*)('*)");
  std::string lower = text, result;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (std::sregex_iterator match(lower.begin(), lower.end(), quoted), end; match != end; ++match) {
    const std::string before = (*match)[1].length() > 0 ? "'" : "", after = (*match)[3].length() > 0 ? "'" : "";
    const std::string bare = (*match)[2];
    const Texts readings = {bare, before + bare, bare + after, before + bare + after};
    const auto known =
        std::find_if(readings.begin(), readings.end(), [&](const auto& one) { return words.count(one); });
    result += (known == readings.end() ? bare : *known) + " ";
  }
  return result;
}

}  // namespace

TEST_CASE("a mean's error is the standard deviation over the root of the number") {
  const Estimate estimate = estimate_mean({1, 2, 3, 4});
  CHECK(estimate.value == Approx(2.5));
  CHECK(estimate.standard_error == Approx(std::sqrt(5.0 / 3 / 4)));
}

TEST_CASE("what too few texts cannot tell is not a number") {
  CHECK(std::isnan(estimate_mean({}).value));
  CHECK(estimate_mean({7}).value == 7);
  CHECK(std::isnan(estimate_mean({7}).standard_error));
  for (const Texts& none : {Texts{}, Texts{""}, Texts{"", ""}}) {
    CHECK(std::isnan(word_share(none, {"the"}).value));
    CHECK(std::isnan(estimate_mean(distinct_shares(ids_of(none))).value));
    CHECK(std::isnan(token_entropy(ids_of(none)).value));
    CHECK(std::isnan(token_entropy(ids_of(none)).standard_error));
  }
  CHECK(std::isnan(word_share({"the"}, {"the"}).standard_error));
  CHECK(std::isnan(token_entropy({ids("the")}).standard_error));
}

TEST_CASE("words are runs of letters and apostrophes, wherever the text begins and ends") {
  CHECK(find_words("'Tis thou, O'ER--there2x'\nROMEO:yes") ==
        Texts{"'tis", "thou", "o'er", "there", "x'", "romeo", "yes"});
  CHECK(find_words(" a ") == Texts{"a"});
  CHECK(find_words("end") == Texts{"end"});
  CHECK(find_words("").empty());
  CHECK(find_words("3 - \xC3\xA9!").empty());
  CHECK(find_words("' '' a '").size() == 1);  // a quotation mark alone is no word
}

TEST_CASE("a word list gives its words, with or without an end to the last, and any other text its own") {
  CHECK(collect_words("a\n'tis\n\nb") == WordSet{"a", "'tis", "b"});
  CHECK(collect_words("a\nb\n") == WordSet{"a", "b"});
  CHECK(collect_words("Paris isn't far. Isn't it?") == WordSet{"paris", "isn't", "far", "it"});
  CHECK(collect_words("").empty());
}

TEST_CASE("the share of words is that of all texts' words, its error that of a ratio") {
  // Known 2, 1 and 0 of 2, 3 and 0: 3 / 5. Residuals 2 - 1.2, 1 - 1.8 and 0; 3 / 2 * (0.64 + 0.64) is 1.92.
  const Estimate estimate = word_share({"The cat", "the dog sat", ""}, {"the", "cat"});
  CHECK(estimate.value == Approx(0.6));
  CHECK(estimate.standard_error == Approx(std::sqrt(1.92) / 5));
}

TEST_CASE("a word cut off by the text's end counts as the word it looks like") {
  CHECK(word_share({"Romeo, wherefor"}, {"romeo", "wherefore"}).value == Approx(0.5));
}

TEST_CASE("a mark at a word's end is its apostrophe where the list has it so, and a quotation mark where it has not") {
  const WordSet words = {"'tis", "'twas", "o", "o'er", "th'", "now", "boys", "boy's", "i'll"};
  const auto is_known = [&](const char* word) { return word_share({word}, words).value == 1; };
  for (const char* known : {"'Tis", "''tis", "'Twas'", "th'", "'th'", "'Now", "now'", "'now'", "''now''", "boys'",
                            "'boy's'", "o'er", "'O'er", "'I'll'", "o'"}) {
    INFO(known);
    CHECK(is_known(known));
  }
  for (const char* unknown : {"tis", "th", "'th", "twas'", "boy", "boy'", "o''er", "n'ow", "'s"}) {
    INFO(unknown);
    CHECK_FALSE(is_known(unknown));
  }
  CHECK(word_share({"' now ''"}, words).value == 1);
  CHECK(std::isnan(word_share({"' ''"}, words).value));
}

TEST_CASE("quotation marks around words and speeches leave the share of words as it is") {
  const WordSet words = shipped_words();
  const std::string text = read_file(data + "held_out.txt") + "Wherefor art thou'rt Romeoe, wi' misspelt thinges";
  const double share = word_share({text}, words).value;
  CHECK(share < 1);
  const std::string bare = words_as_listed(text, words);
  CHECK(bare.size() < text.size());
  CHECK(word_share({bare}, words).value == share);
  const Texts pieces = {"", "'", "''"};
  for (const std::string& opening : pieces) {
    for (const std::string& closing : pieces) {
      const std::string quoted = std::regex_replace(bare, std::regex("[^ ]+"), opening + "$&" + closing);
      CHECK(word_share({quoted}, words).value >= share);  // a mark more may make a word of a word that lacks it
      CHECK(find_words(quoted).size() == find_words(text).size());
      CHECK(word_share({words_as_listed(quoted, words)}, words).value == word_share({quoted}, words).value);
    }
  }
}

TEST_CASE("where texts have equally many words, the ratio's error is the mean's") {
  const Estimate ratio = word_share({"a b", "a a", "b b", "a b"}, {"a"});
  const Estimate mean = estimate_mean({0.5, 1, 0, 0.5});
  CHECK(ratio.value == Approx(mean.value));
  CHECK(ratio.standard_error == Approx(mean.standard_error));
}

TEST_CASE("values that are not numbers do not count in a mean") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const Estimate estimate = estimate_mean({none, 1, none, 3});
  CHECK(estimate.value == Approx(2));
  CHECK(estimate.standard_error == Approx(1));
}

TEST_CASE("the jackknife's error of a mean is that of the mean") {
  // Of 1, 2, 3, 4: the means without each are 3, 8/3, 7/3 and 2.
  CHECK(jackknife_error({3, 8.0 / 3, 7.0 / 3, 2}) == Approx(estimate_mean({1, 2, 3, 4}).standard_error));
  CHECK(std::isnan(jackknife_error({1})));
}

TEST_CASE("texts without a 4-gram do not count in the mean of the others") {
  const Estimate estimate = estimate_mean(distinct_shares(ids_of({"aaaaaaa", "abc", "abababab"})));
  CHECK(estimate.value == Approx(0.325));
  CHECK(estimate.standard_error == Approx(0.075));
}

TEST_CASE("the share below a bound is of the values that are numbers") {
  CHECK(share_below({0.5, 0.6, 0.7, std::numeric_limits<double>::quiet_NaN()}, 0.6).value == Approx(1.0 / 3));
  CHECK(std::isnan(share_below({}, 0.6).value));
}

TEST_CASE("a repeated run is a phrase said again at once, with what there is of it after that") {
  CHECK(longest_repeated_run(ids("abcdefg")) == 0);
  CHECK(longest_repeated_run(ids("")) == 0);
  CHECK(longest_repeated_run(ids("xaay")) == 2);
  CHECK(longest_repeated_run(ids("xaaaaay")) == 5);
  CHECK(longest_repeated_run(ids("xabababcy")) == 6);
  CHECK(longest_repeated_run(ids("xababay")) == 5);  // and half of a third time
  CHECK(longest_repeated_run(ids("abcXabc")) == 0);  // not at once
  CHECK(longest_repeated_run(ids("love, love, love, lost")) == 20);
  CHECK(longest_repeated_run({4096, 7, 4096, 7}) == 4);
}

TEST_CASE("entropy is that of the tokens of all texts together") {
  CHECK(token_entropy(ids_of({"aaaa", "aa"})).value == 0);
  CHECK(token_entropy(ids_of({"ab", "cd"})).value == Approx(std::log(4)));
  CHECK(token_entropy(ids_of({"aaa", "b"})).value == Approx(0.25 * std::log(4) + 0.75 * std::log(4.0 / 3)));
  CHECK(token_entropy({{0, 4095, 50256}, {7}}).value == Approx(std::log(4)));
}

TEST_CASE("entropy's error is the jackknife's over texts") {
  // Without one of two texts, the other's entropy is left: ln 2 or 0, each ln 2 / 2 from their mean.
  CHECK(token_entropy(ids_of({"aa", "ab"})).standard_error == Approx(std::log(2) / 2));
  // 0 without "a", ln 2 without either "b": 2/3, 1/3 and 1/3 of ln 2 from their mean.
  CHECK(token_entropy(ids_of({"a", "b", "b"})).standard_error ==
        Approx(std::sqrt(2.0 / 3 * (4 + 1 + 1) / 9) * std::log(2)).margin(1e-12));
}

TEST_CASE("a text repeats itself where one token is more than half of it") {
  CHECK(count_repeating({{9, 9, 9, 1, 2}, {9, 9, 1, 2}, {1, 2, 3, 4}, {}}) == 1);
  CHECK(count_repeating({{9}, {4096, 7, 4096}}) == 2);
  CHECK(count_repeating({}) == 0);
}

TEST_CASE("a text of one token counts in all but the judge's mean") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const Quality quality = measure_quality({"a b", "a"}, {{{1, 2, 3}, {1}}, {2.5, none}}, {"a"}, 0.6);
  CHECK(quality.judge_nats.value == 2.5);
  CHECK(std::isnan(quality.judge_nats.standard_error));
  CHECK(quality.word_share.value == Approx(2.0 / 3));
  CHECK(std::isnan(quality.distinct_4grams.value));
  CHECK(std::isnan(quality.repetitive.value));
  CHECK(quality.token_entropy.value == Approx(0.5 * std::log(2) + 0.5 * std::log(4)));
  CHECK(quality.repeating == 1);
}

TEST_CASE("the worst texts count by themselves, not in a mean") {
  const std::vector<Ids> tokens = ids_of({"abcdefghij", "ababababab", "klmnopqrst", "klmnopqqrst"});
  const Quality quality = measure_quality({"", "", "", ""}, {tokens, {1, 1, 1, 1}}, {}, 0.6);
  CHECK(quality.repetitive.value == Approx(0.25));  // 2 of 7 differ in the second
  CHECK(quality.longest_run == 10);
}

TEST_CASE("an error over seeds is that of the mean of what each seed gives") {
  Quality all, one, two;
  all.judge_nats = {1.5, 0.1};
  one.judge_nats = {1, 0.1};
  two.judge_nats = {2, 0.1};
  estimate_seeds_errors(all, {one, two});
  CHECK(all.judge_nats.value == 1.5);
  CHECK(all.judge_nats.standard_error == 0.1);
  CHECK(all.judge_nats.seeds_error == Approx(0.5));
  CHECK(std::isnan(all.word_share.seeds_error));
}

TEST_CASE("held-out windows alternate between what is measured and what it is measured against") {
  const HeldOutWindows all = held_out_windows(ids("abcdefghijk"), 2, 9);
  CHECK(all.reference == ids_of({"ab", "ef"}));
  CHECK(all.measured == ids_of({"cd", "gh"}));
  const HeldOutWindows some = held_out_windows(ids("abcdefghijkl"), 2, 2);
  CHECK(some.reference == ids_of({"ab", "ij"}));
  CHECK(some.measured == ids_of({"cd", "kl"}));
  CHECK(held_out_windows(ids("abcdefgh"), 2, 1).reference == ids_of({"ab"}));
  CHECK_THROWS_AS(held_out_windows(ids("abc"), 2, 1), demask::Error);
}

TEST_CASE("every word of the held-out text is in the reference") {
  const WordSet words = shipped_words();
  CHECK(words.size() == 12630);  // the list's lone apostrophe is none
  CHECK(word_share({read_file(data + "held_out.txt")}, words).value == 1);
}

TEST_CASE("held-out text has the measures that strategies are compared with, and no text that repeats itself") {
  const HeldOutWindows windows = held_out_windows(ids(read_file(data + "held_out.txt")), 256, 1000);
  CHECK(windows.measured.size() == 217);
  for (const std::vector<Ids>& part : {windows.reference, windows.measured}) {
    Texts texts;
    for (const Ids& window : part) {
      texts.emplace_back(window.begin(), window.end());
    }
    const std::vector<double> nats(part.size(), 1.5);
    const Quality quality = measure_quality(texts, {part, nats}, shipped_words(), least_distinct_characters);
    CHECK(quality.judge_nats.value == 1.5);
    CHECK(quality.judge_nats.standard_error == 0);
    CHECK(quality.word_share.value == Approx(0.981).margin(0.003));
    CHECK(quality.distinct_4grams.value == Approx(0.905).margin(0.01));
    CHECK(quality.token_entropy.value == Approx(3.35).margin(0.02));
    CHECK(quality.repetitive.value == 0);
  }
}
