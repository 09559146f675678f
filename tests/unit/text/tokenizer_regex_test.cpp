#include "text/tokenizer_regex.h"

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "text/oniguruma.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;

namespace {

// What the pattern matches in a text, one after another.
std::vector<std::string> matches(const TokenizerRegex& pattern, const std::string& text) {
  Matcher matcher(pattern);
  std::vector<std::string> found;
  for (size_t from = 0; const auto match = matcher.find(text, from);) {
    found.push_back(text.substr(match->start, match->end - match->start));
    from = match->end > match->start ? match->end : match->end + 1;
  }
  return found;
}

std::vector<std::string> matches(const std::string& expression, const std::string& text) {
  return matches(TokenizerRegex::from_oniguruma(expression), text);
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("classes are Unicode's, and white space is White_Space, in classes too") {
  CHECK(matches(R"(\p{L}+|\p{N})", "h\u00E9llo \u0663\u00BD") == Texts{"h\u00E9llo", "\u0663", "\u00BD"});
  CHECK(matches(R"(\s)", "\u00A0\u0085\u3000") == Texts{"\u00A0", "\u0085", "\u3000"});
  CHECK(matches(R"(\s|[\s])", "\u180E\u200B\x1C").empty());
  CHECK(matches(R"([^\s]+)", "a \u180E\u2003b") == Texts{"a", "\u180E", "b"});
  CHECK(matches(R"(\S+)", "a \u180E\u2003b") == Texts{"a", "\u180E", "b"});
  CHECK(matches(R"([\S]+)", "a \u180E\u2003b") == Texts{"a", "\u180E", "b"});
  CHECK(matches(R"(\w+)", "e\u0301_\u203Fx-") == Texts{"e\u0301_\u203Fx"});
}

TEST_CASE("expressions mean what they mean to Oniguruma") {
  CHECK(matches(R"(\h+)", "xBEEFx") == Texts{"BEEF"});
  CHECK(matches(R"((?m:.)+)", "a\nb") == Texts{"a\nb"});
  CHECK(matches(R"(.+)", "a\nb") == Texts{"a", "b"});
  CHECK(matches(R"(^b$)", "a\nb\nc") == Texts{"b"});
  CHECK(matches(R"(\d{1,2}+)", "12345") == Texts{"12345"});  // not possessive, and repeated
  CHECK(matches(R"(\p{N}{1,2}+)", "12345") == Texts{"12345"});
  CHECK(matches(R"(\b.)", "e\u0301a \u00BDx") == Texts{"e", " ", "\u00BD"});  // a mark is no boundary
  CHECK(matches(R"(\B.)", "ab -\u00BD") == Texts{"b", "-"});
  CHECK(matches(R"((?:ab){1,2}+c)", "abababc") == Texts{"abababc"});
  CHECK(matches(R"([a\]]{1}+)", "a]a") == Texts{"a]a"});
  CHECK(matches(R"(a?+a)", "a").empty());  // possessive
  CHECK(matches(R"((?i:'s))", "'S'\u017F") == Texts{"'S", "'\u017F"});
  CHECK(matches(R"(\u00e9)", "\u00E9") == Texts{"\u00E9"});
  CHECK(matches(R"([]a]+)", "]a") == Texts{"]a"});
  CHECK(matches(R"([[:alpha:]]+)", "ab1") == Texts{"ab"});
}

TEST_CASE("a literal is no expression") {
  CHECK(matches(TokenizerRegex::literal("a.\\E"), "aba.\\Ea") == Texts{"a.\\E"});
}

TEST_CASE("what cannot be read is named") {
  const auto refusal = [](const std::string& expression) {
    return bad_input_message([&] { TokenizerRegex::from_oniguruma(expression); });
  };
  CHECK_THAT(refusal("[a&&b]"), ContainsSubstring("'[a&&b]' has an intersection (&&)"));
  CHECK_THAT(refusal("[a[b]]"), ContainsSubstring("a class within a class"));
  CHECK_THAT(refusal("(a"), ContainsSubstring("cannot be read: missing closing parenthesis"));
  CHECK_THAT(refusal("\\p{Nonsense}"), ContainsSubstring("cannot be read"));
  CHECK_THAT(refusal("a\\Kb"), ContainsSubstring("has \\K"));
  CHECK_THAT(refusal(std::string(100'000, 'a')), ContainsSubstring("has 100000 bytes"));
  CHECK_THAT(refusal(std::string(1000, '(')), ContainsSubstring("cannot be read"));
}

TEST_CASE("a pattern that backtracks for ever ends in an error") {
  const std::string expression =
      GENERATE("(a+)+[bc]", "(?:a|aa)+[bc]", "a*a*a*a*[bc]", "((a*)*)*[bc]", "(?:a|a)*[bc]", "(a*?a*?)*[bc]");
  CAPTURE(expression);
  const auto start = std::chrono::steady_clock::now();
  const std::string message = bad_input_message([&] { matches(expression, std::string(3000, 'a')); });
  CHECK_THAT(message, ContainsSubstring("takes too long or too much memory"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
}
