#include "pattern/byte_automaton.h"

#include <random>
#include <string>
#include <vector>

#include "core/utf8.h"
#include "pattern/pattern_parser.h"
#include "tests/support/catch.h"
#include "tests/support/pcre2_engine.h"

using namespace demask;
using demask::testing::Pcre2Engine;

namespace {

ByteSet all_bytes() {
  return ByteSet{}.set();
}

ByteAutomaton automaton(const std::string& pattern) {
  return ByteAutomaton(parse_pattern(pattern), all_bytes());
}

// Every text of at most `most` of these characters.
std::vector<std::string> texts_of(const std::vector<std::string>& characters, size_t most) {
  std::vector<std::string> texts = {""};
  size_t first = 0;
  for (size_t length = 1; length <= most; ++length) {
    const size_t last = texts.size();
    for (; first < last; ++first) {
      for (const std::string& character : characters) {
        texts.push_back(texts[first] + character);
      }
    }
  }
  return texts;
}

void check_by_pcre2(const std::string& pattern, const std::vector<std::string>& texts) {
  CAPTURE(pattern);
  const Pcre2Engine engine(pattern);
  REQUIRE(engine.reads_pattern());
  const ByteAutomaton own = automaton(pattern);
  for (const std::string& text : texts) {
    if (own.matches(text) != engine.matches(text)) {
      CAPTURE(text);
      CHECK(own.matches(text) == engine.matches(text));
      return;
    }
  }
}

// A pattern over a, b and c of bounded depth, by chance.
std::string random_pattern(std::mt19937& random, int depth) {
  const auto below = [&](unsigned count) { return random() % count; };
  const auto inner = [&] { return random_pattern(random, depth - 1); };
  switch (depth == 0 ? below(4) : below(10)) {
    case 0:
      return "a";
    case 1:
      return "[ab]";
    case 2:
      return ".";
    case 3:
      return "[^b]";
    case 4:
      return "(" + inner() + "|" + inner() + ")";
    case 5:
      return "(?:" + inner() + ")*";
    case 6:
      return "(" + inner() + "){1,2}";
    case 7:
      return "(" + inner() + ")?";
    case 8:
      return "(" + inner() + "){2,}";
    default:
      return inner() + inner();
  }
}

}  // namespace

TEST_CASE("A pattern matches the texts that PCRE2 matches") {
  const std::vector<std::string> texts = texts_of({"a", "b", "-", "7", "\n", "é", "€"}, 4);
  for (const std::string pattern : {"a",
                                    "ab|b",
                                    "(a|b)*",
                                    "(a*)*",
                                    "(a*)+b",
                                    "[ab-]+",
                                    "[^a]*",
                                    ".*",
                                    ".{2}",
                                    "a{2,3}",

                                    "a{2,}",
                                    "a{0}b",
                                    "(ab){0,2}",
                                    "\\d\\D",
                                    "\\w+",
                                    "\\W+",
                                    "\\s",
                                    "\\S\\s",
                                    "[\\d\\s]+",
                                    "[^\\d]",
                                    "[a-é]+",
                                    "[^é]b",
                                    "é+",
                                    "\\x61",
                                    "\\x{e9}€",
                                    "[\\x{80}-\\x{10ffff}]*",
                                    "a\\-b",
                                    "()",
                                    "(|a)b",
                                    "a||b",
                                    "^ab$",

                                    "[-a]",
                                    "[a-]",
                                    "\\[|\\.",
                                    "(?:a|-){3}",
                                    "(((a)))",
                                    "}|]",
                                    "(a|b)*a(a|b)(a|b)",
                                    "(a?){3}a{3}"}) {
    check_by_pcre2(pattern, texts);
  }
}

TEST_CASE("Patterns made by chance match the texts that PCRE2 matches") {
  std::mt19937 random(20);
  const std::vector<std::string> texts = texts_of({"a", "b", "c"}, 5);
  for (int i = 0; i < 200; ++i) {
    check_by_pcre2(random_pattern(random, 4), texts);
  }
}

TEST_CASE("Every code point is in a class or in its negation, and surrogates are in neither") {
  const ByteAutomaton in = automaton("[\\x{7f}-\\x{900}\\x{d000}-\\x{e100}\\x{fff0}-\\x{10100}]"),
                      out = automaton("[^\\x{7f}-\\x{900}\\x{d000}-\\x{e100}\\x{fff0}-\\x{10100}]");
  for (uint32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) {
      continue;
    }
    const bool inside = (point >= 0x7f && point <= 0x900) || (point >= 0xd000 && point <= 0xe100) ||
                        (point >= 0xfff0 && point <= 0x10100);
    const std::string text = encode_utf8(point);
    if (in.matches(text) != inside || out.matches(text) == inside) {
      CAPTURE(point);
      FAIL("in the wrong class");
    }
  }
  CHECK_FALSE(in.matches("\xED\xA0\x80"));
  CHECK_FALSE(out.matches("\xED\xA0\x80"));
}

TEST_CASE("Automata are minimal, so that patterns of the same texts have as many states") {
  // The n-th last character is an a: 2^n states, a textbook's number.
  CHECK(automaton("[ab]*a[ab]{4}").states() == 32);
  CHECK(automaton("a*").states() == 1);
  CHECK(automaton("(a*)*(a|aa)*").states() == 1);
  CHECK(automaton("abc|abd|xbc|xbd").states() == automaton("[ax]b[cd]").states());
  CHECK(automaton("a{3,5}").states() == 6);
}

TEST_CASE("Bytes that are of no use leave no states behind") {
  ByteSet letters;
  for (const char letter : std::string("abc\n")) {
    letters.set(static_cast<unsigned char>(letter));
  }
  const ByteAutomaton own(parse_pattern(".{500}"), letters);
  CHECK(own.states() == 501);
  CHECK(ByteAutomaton(parse_pattern("é"), letters).states() == 1);
  CHECK_FALSE(ByteAutomaton(parse_pattern("é"), letters).matches("é"));
}
