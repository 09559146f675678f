#include "engine/collapse_watch.h"

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sampling/strategies/strategy.h"
#include "tests/support/catch.h"
#include "tests/support/goldens.h"
#include "tests/support/process.h"
#include "text/character_vocabulary.h"
#include "text/read_vocabulary.h"

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using namespace demask;
using demask::testing::read_file;
using Tokens = std::vector<int64_t>;

namespace {

Tokens ids(const std::string& text) {
  return {text.begin(), text.end()};
}

// Of a run with so many symbols, one a character.
Context characters(int64_t symbols, const char* strategy = "remask") {
  Context context;
  context.config.diffusion.strategy = find_strategy(strategy);
  context.vocabulary = std::make_unique<CharacterVocabulary>(std::vector<std::optional<std::string>>{"a", "b", "c"});
  context.allowed.resize(static_cast<size_t>(symbols));
  return context;
}

// Pieces of GPT-2's, with an end of text.
Context pieces() {
  Context context;
  context.config.diffusion.strategy = find_strategy("remask");
  context.vocabulary = read_vocabulary(demask::testing::goldens + "gpt2/model/tokenizer.json");
  context.allowed.resize(50257);
  return context;
}

PreparedPrompt nothing_given(size_t length) {
  PreparedPrompt prompt;
  prompt.length = prompt.generated = static_cast<int64_t>(length);
  prompt.text.fixed.assign(length, false);
  prompt.text.tokens.assign(length, 0);
  return prompt;
}

std::optional<std::string> notice_of(const Context& context, const std::vector<Tokens>& samples) {
  CollapseWatch watch(context);
  for (const Tokens& tokens : samples) {
    watch.look_at(nothing_given(tokens.size()), tokens);
  }
  return watch.notice();
}

// No two 4-grams alike.
Tokens counting(size_t length) {
  Tokens tokens(length);
  for (size_t i = 0; i < length; ++i) {
    tokens[i] = static_cast<int64_t>(i);
  }
  return tokens;
}

Tokens repeating(size_t length, int64_t period) {
  Tokens tokens(length);
  for (size_t i = 0; i < length; ++i) {
    tokens[i] = static_cast<int64_t>(i) % period;
  }
  return tokens;
}

}  // namespace

TEST_CASE("4-grams of one repeated token are all the same, those of a whole alphabet all different") {
  CHECK(distinct_4grams(ids("aaaaaaa")) == Approx(0.25));
  CHECK(distinct_4grams(ids("abcdefghijklmnopqrstuvwxyz")) == Approx(1));
  CHECK(distinct_4grams(ids("abababab")) == Approx(0.4));  // abab and baba, five times
  CHECK(distinct_4grams(ids("abcd")) == Approx(1));
  CHECK(std::isnan(distinct_4grams(ids("abc"))));
}

TEST_CASE("4-grams of pieces are told apart by whole ids, however large") {
  CHECK(distinct_4grams({1, 256, 3, 4, 1, 256, 3, 4}) == Approx(0.8));
  CHECK(distinct_4grams({1, 2, 3, 4, 257, 2, 3, 4}) == Approx(1));  // 257 is 1 in a byte
}

TEST_CASE("a text that says one thing again and again is told of, with the share and what to use") {
  // 253 4-grams, of which 3 differ.
  const std::optional<std::string> notice = notice_of(characters(65), {counting(256), repeating(256, 3)});
  REQUIRE(notice);
  CHECK_THAT(*notice,
             ContainsSubstring("1 of 2 texts") && ContainsSubstring("49%") && ContainsSubstring("--strategy=best"));
  CHECK_THAT(*notice_of(characters(65, "best"), {repeating(256, 3)}), ContainsSubstring("--strategy=ancestral"));
}

TEST_CASE("several texts that are all repetitive are told of, where none of them alone would be") {
  // 253 4-grams, of which 150 differ: 0.59, above 0.4 and below 0.7.
  const Tokens one = repeating(256, 150);
  CHECK_FALSE(notice_of(characters(65), std::vector<Tokens>(7, one)));
  const std::optional<std::string> notice = notice_of(characters(65), std::vector<Tokens>(8, one));
  REQUIRE(notice);
  CHECK_THAT(*notice, ContainsSubstring("the texts") && ContainsSubstring("41%"));
}

TEST_CASE("short texts tell nothing, and long ones are not asked for more than 256 tokens without repetition") {
  CHECK_FALSE(notice_of(characters(65), std::vector<Tokens>(9, repeating(63, 1))));
  CHECK(notice_of(characters(65), {repeating(64, 1)}));
  CHECK_FALSE(notice_of(characters(65), std::vector<Tokens>(9, repeating(4096, 256))));
  Tokens late = counting(1024);
  late.resize(1024 + 256, 7);
  CHECK(notice_of(characters(65), {late}));
  CHECK_FALSE(CollapseWatch(characters(65)).notice());
}

TEST_CASE("texts that a run only scores are not its own") {
  Context context = characters(65);
  REQUIRE(notice_of(context, {repeating(256, 1)}));
  context.config.score = "texts.txt";
  CHECK_FALSE(notice_of(context, {repeating(256, 1)}));
}

TEST_CASE("what the prompt gives and what follows the end of a text does not count") {
  const Context context = characters(65);
  PreparedPrompt prompt = nothing_given(256);
  std::fill_n(prompt.text.fixed.begin(), 200, true);
  CollapseWatch watch(context);
  watch.look_at(prompt, repeating(256, 2));
  CHECK_FALSE(watch.notice());

  const Context with_end = pieces();
  Tokens ended = counting(128);
  ended.resize(1024, *with_end.vocabulary->end_of_text());
  CHECK_FALSE(notice_of(with_end, {ended}));
  ended = counting(128);
  ended.resize(1024, 128);
  CHECK(notice_of(with_end, {ended}));
}

TEST_CASE("standard sampling repeats what its model does, and nobody is told") {
  Context context = characters(65);
  context.config.sampling_method = SamplingMethod::standard;
  CHECK_FALSE(notice_of(context, {repeating(256, 1)}));
}

TEST_CASE("the bounds fall with the 4-grams that few symbols can make") {
  CHECK(collapse_bounds(/*characters=*/true, 65).window == Approx(0.4).epsilon(1e-4));
  CHECK(collapse_bounds(/*characters=*/true, 65).mean == Approx(0.7).epsilon(1e-4));
  CHECK(collapse_bounds(/*characters=*/false, 50257).window == Approx(0.55));
  CHECK(collapse_bounds(/*characters=*/false, 50257).mean == Approx(0.85));
  // All 16 of two symbols among 253, in any text that is long enough.
  CHECK(collapse_bounds(/*characters=*/true, 2).mean == Approx(0.7 * 16 / 253).epsilon(1e-4));
  CHECK(collapse_bounds(/*characters=*/true, 1).window == Approx(0.4 / 253));
}

TEST_CASE("no window of real text is told of, wherever it begins") {
  const Tokens text = ids(read_file(std::string(DEMASK_SOURCE_DIR) + "/bench/quality/data/held_out.txt"));
  const Context context = characters(65);
  CollapseWatch all(context);
  for (const size_t length : {size_t{64}, size_t{100}, size_t{256}, size_t{512}}) {
    for (size_t start = 0; start + length <= text.size(); start += 97) {
      const auto first = text.begin() + static_cast<std::ptrdiff_t>(start);
      const Tokens window(first, first + static_cast<std::ptrdiff_t>(length));
      CollapseWatch one(context);
      one.look_at(nothing_given(length), window);
      REQUIRE_FALSE(one.notice());
      all.look_at(nothing_given(length), window);
    }
  }
  CHECK_FALSE(all.notice());
}
