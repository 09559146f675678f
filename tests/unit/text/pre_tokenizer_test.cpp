#include "text/pre_tokenizer.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "text/gpt2_words.h"

using namespace demask;
using Words = std::vector<std::string>;

namespace {

struct Collector : WordSink {
  Words words;
  void take(std::string_view word) override { words.emplace_back(word); }
};

Words cut(const std::vector<PreTokenizerStep>& steps, const std::string& text) {
  Collector collector;
  PreTokenizer(steps).cut(text, collector);
  return collector.words;
}

PreTokenizerStep split(TokenizerRegex pattern, SplitBehavior behavior, bool invert = false) {
  PreTokenizerStep step;
  step.pattern.push_back(std::move(pattern));
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

PreTokenizerStep space_in_front() {
  PreTokenizerStep step;
  step.kind = PreTokenizerStep::Kind::space_in_front;
  return step;
}

}  // namespace

// The examples of SplitDelimiterBehavior in the tokenizers library's documentation.
TEST_CASE("matches are removed, kept apart or joined as the behaviour says") {
  const auto words = [](SplitBehavior behavior) {
    return cut({split(TokenizerRegex::literal("-"), behavior)}, "the-final--countdown");
  };
  CHECK(words(SplitBehavior::removed) == Words{"the", "final", "countdown"});
  CHECK(words(SplitBehavior::isolated) == Words{"the", "-", "final", "-", "-", "countdown"});
  CHECK(words(SplitBehavior::merged_with_previous) == Words{"the-", "final-", "-", "countdown"});
  CHECK(words(SplitBehavior::merged_with_next) == Words{"the", "-final", "-", "-countdown"});
  CHECK(words(SplitBehavior::contiguous) == Words{"the", "-", "final", "--", "countdown"});
}

TEST_CASE("an inverted split swaps what matches and what does not") {
  const TokenizerRegex words = TokenizerRegex::from_oniguruma(R"(\w+)");
  CHECK(cut({split(words, SplitBehavior::removed, true)}, "a, b!") == Words{"a", "b"});
  CHECK(cut({split(words, SplitBehavior::merged_with_previous, true)}, "a, b!") == Words{"a, ", "b!"});
}

TEST_CASE("empty matches cut and end") {
  CHECK(cut({split(TokenizerRegex::from_oniguruma("x*"), SplitBehavior::isolated)}, "axxb\u00E9") ==
        Words{"a", "xx", "b", "\u00E9"});
  CHECK(cut({split(TokenizerRegex::from_oniguruma("(?=b)"), SplitBehavior::isolated)}, "abab") ==
        Words{"a", "ba", "b"});
  CHECK(cut({split(TokenizerRegex::literal(""), SplitBehavior::removed)}, "ab") == Words{"a", "b"});
}

TEST_CASE("each step cuts what the one before it left, and sees nothing beyond it") {
  const std::vector<PreTokenizerStep> steps = {
      split(TokenizerRegex::from_oniguruma(R"(\p{N})"), SplitBehavior::isolated),
      split(TokenizerRegex::from_oniguruma(R"(a(?!1)|.)"), SplitBehavior::isolated), space_in_front()};
  CHECK(cut(steps, "a1 b") == Words{" a", " 1", " ", " b"});
  CHECK(cut(steps, "").empty());
}

TEST_CASE("GPT-2's words found by hand are those of its pattern") {
  const std::vector<PreTokenizerStep> pattern = {
      split(TokenizerRegex::from_oniguruma(gpt2_pattern), SplitBehavior::isolated)};
  std::vector<PreTokenizerStep> by_hand = pattern;
  by_hand[0].is_gpt2_words = true;
  const std::vector<std::string> parts = {"a",  "s", "l", "r",    "e",      "1",      " ",
                                          "\n", "'", ".", "\x1C", "\u00E9", "\u00A0", "\u0301"};
  constexpr size_t longest = 5;
  std::string text;
  size_t texts = 0;
  // Every text of at most five of the parts, one after another with a letter between, so that few calls do it all.
  const auto extend = [&](const auto& self, const std::string& start, size_t length) -> void {
    if (length == longest) {
      text += start + "|";
      ++texts;
      return;
    }
    for (const std::string& part : parts) {
      self(self, start + part, length + 1);
    }
  };
  extend(extend, "", 0);
  CHECK(texts == 537'824);
  CHECK(cut(by_hand, text) == cut(pattern, text));
  for (const std::string end : {"a", " ", "  ", " \n", "'", "'l", "'ll", " '", " \u00E9", "a\u0301", "1 ", "\u00A0 "}) {
    CHECK(cut(by_hand, "a" + end) == cut(pattern, "a" + end));
    CHECK(cut(by_hand, end) == cut(pattern, end));
  }
}
