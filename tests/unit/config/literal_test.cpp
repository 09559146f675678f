#include "config/literal.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "config/literal_source.h"
#include "tests/support/catch.h"

namespace demask {
namespace {

Literal list(std::vector<Literal> items) {
  return {std::move(items)};
}
Literal whole(int64_t number) {
  return {number};
}
Literal text(const std::string& content) {
  return {content};
}

struct Reading {
  std::string source;
  Literal expected;
};

void check_all(const std::vector<Reading>& readings) {
  for (const Reading& reading : readings) {
    CAPTURE(reading.source);
    const auto literal = parse_literal(reading.source);
    REQUIRE(literal);
    CHECK(*literal == reading.expected);
  }
}

TEST_CASE("constants are None, True and False, and the lower-case forms of the last two") {
  check_all(
      {{"None", {}}, {"True", {true}}, {"False", {false}}, {"true", {true}}, {"false", {false}}, {"  True\t", {true}}});
}

TEST_CASE("numbers are read as Python reads them") {
  check_all({{"0", whole(0)},
             {"-1", whole(-1)},
             {"+7", whole(7)},
             {"- 7", whole(-7)},
             {"1_000_000", whole(1000000)},
             {"0xff", whole(255)},
             {"-0XF_F", whole(-255)},
             {"0o17", whole(15)},
             {"0b101", whole(5)},
             {"00", whole(0)},
             {"9223372036854775807", whole(std::numeric_limits<int64_t>::max())},
             {"-9223372036854775808", whole(std::numeric_limits<int64_t>::min())},
             {"1e-3", {0.001}},
             {".5", {0.5}},
             {"5.", {5.0}},
             {"1_0.2_5", {10.25}},
             {"-2.5E+2", {-250.0}},
             {"1e3", {1000.0}},
             {"01.5", {1.5}}});
}

TEST_CASE("strings keep their text and decode Python's escapes") {
  check_all({{"'a'", text("a")},
             {"\"it's\"", text("it's")},
             {"''", text("")},
             {"''''''", text("")},
             {R"('a\n\t\\\'\"b')", text("a\n\t\\'\"b")},
             {R"('\x41\101\7\u00e9\U0001F600')", text("A"
                                                      "A\a"
                                                      "\xC3\xA9\xF0\x9F\x98\x80")},
             {R"('\xe9\u20AC')", text("\xC3\xA9\xE2\x82\xAC")},
             {R"('\q')", text("\\q")},
             {"'a\\\nb'", text("ab")},
             {R"('\0')", text(std::string(1, '\0'))},
             {R"(r'\n\'')", text("\\n\\'")},
             {R"(u'a')", text("a")},
             {"'''a\n'b'\n\"'''", text("a\n'b'\n\"")},
             {"\"\"\"a\"b\"\"\"", text("a\"b")},
             {"'a' \"b\" r'\\c'", text("ab\\c")},
             {"'\xC3\xA9'", text("\xC3\xA9")}});
}

TEST_CASE("lists and tuples nest, span lines, and hold comments and trailing commas") {
  check_all({{"[]", list({})},
             {"()", list({})},
             {"(1)", whole(1)},
             {"(1,)", list({whole(1)})},
             {"[0.9, 0.5,]", list({{0.9}, {0.5}})},
             {"[1, # one\n  # and\n  (2, [None]),\r\n]", list({whole(1), list({whole(2), list({Literal{}})})})},
             {"('a'\n 'b')", text("ab")}});
}

TEST_CASE("what is no literal is told apart from what is") {
  const std::vector<std::string> sources = {"",
                                            " ",
                                            "hello",
                                            "none",
                                            "null",
                                            "inf",
                                            "nan",
                                            "1e999",
                                            "-1e999",
                                            "9223372036854775808",
                                            "007",
                                            "1__0",
                                            "1_",
                                            "_1",
                                            "0x",
                                            "0b2",
                                            "1.2.3",
                                            "1abc",
                                            "3j",
                                            "1e",
                                            ".",
                                            "-",
                                            "--1",
                                            "-True",
                                            "'a",
                                            "'a\nb'",
                                            "'''a''",
                                            "'\\x4'",
                                            "'\\ud800'",
                                            "'\\U00110000'",
                                            "'\\N{DASH}'",
                                            "b'a'",
                                            "f'a'",
                                            "[",
                                            "[1",
                                            "[1 2]",
                                            "[,]",
                                            "[1,,2]",
                                            "(1]",
                                            "{1: 2}",
                                            "1 + 1",
                                            "1, 2",
                                            "True x",
                                            "'a' # no",
                                            "'a' b",
                                            "\\",
                                            "'\\"};
  for (const std::string& source : sources) {
    CAPTURE(source);
    CHECK_FALSE(parse_literal(source));
  }
  CHECK_FALSE(parse_literal(std::string("1\0", 2)));
}

TEST_CASE("depth and size are bounded") {
  CHECK(parse_literal(std::string(20, '[') + std::string(20, ']')));
  CHECK_FALSE(parse_literal(std::string(100000, '[')));
  CHECK_FALSE(parse_literal(std::string(1000, '[') + std::string(1000, ']')));
  CHECK_FALSE(parse_literal(std::string(1000, '(') + "1" + std::string(1000, ')')));
  CHECK_FALSE(parse_literal("'" + std::string(max_literal_bytes, 'a') + "'"));
}

TEST_CASE("a literal written as source reads back unchanged") {
  std::string every_byte;
  for (int byte = 0; byte < 128; ++byte) {
    every_byte += static_cast<char>(byte);
  }
  const Literal original = list({{},
                                 {true},
                                 {false},
                                 whole(std::numeric_limits<int64_t>::min()),
                                 {0.1},
                                 {1.0},
                                 {-0.0},
                                 {1e300},
                                 {5e-324},
                                 {std::nextafter(0.3, 1.0)},
                                 text(every_byte + "\xC3\xA9\xF0\x9F\x98\x80"),
                                 list({}),
                                 list({text("''"), whole(-1)})});
  const std::string source = to_source(original);
  CHECK(source.find('\n') == std::string::npos);
  const auto again = parse_literal(source);
  REQUIRE(again);
  CHECK(*again == original);
}

TEST_CASE("source is what Python would print") {
  CHECK(to_source({}) == "None");
  CHECK(to_source({1.0}) == "1.0");
  CHECK(to_source({0.8}) == "0.8");
  CHECK(to_source(list({{0.9}, whole(2), text("it's\n")})) == R"([0.9, 2, 'it\'s\n'])");
}

TEST_CASE("assignments are found in order, past comments, blank lines and lists of several lines") {
  const std::string source = "# head\n\nseed = 1  # one\r\nratios=[0.9, # most\n  0.5,\n]\n  seed\t=\t'x#y'";
  const std::vector<Assignment> found = parse_assignments(source);
  REQUIRE(found.size() == 3);
  CHECK(found[0].key == "seed");
  CHECK(found[0].value == whole(1));
  CHECK(line_of(source, found[0].offset) == 3);
  CHECK(found[1].key == "ratios");
  CHECK(found[1].value == list({{0.9}, {0.5}}));
  CHECK(found[2].value == text("x#y"));
  CHECK(line_of(source, found[2].offset) == 7);
  CHECK(parse_assignments("").empty());
  CHECK(parse_assignments("# only a comment").empty());
}

TEST_CASE("anything but an assignment of a literal is refused at its own line") {
  const std::vector<std::pair<std::string, size_t>> cases = {{"import time", 1},
                                                             {"a = 1\nimport os\n", 2},
                                                             {"a = 1\n\nb = a * 2\n", 3},
                                                             {"a = 2 * 3", 1},
                                                             {"a = 1; b = 2", 1},
                                                             {"a: int = 1", 1},
                                                             {"a += 1", 1},
                                                             {"a == 1", 1},
                                                             {"a =\n1", 1},
                                                             {"a = hello", 1},
                                                             {"'''doc'''\na = 1", 1},
                                                             {"a = 1\nb = [1,\n2\nc = 3\n", 4},
                                                             {"a = 1\nb = [1,\n2,\n", 2},
                                                             {"a = 1\nb = '''x\ny\n", 2},
                                                             {"a = __import__('os').system('true')", 1}};
  for (const auto& [source, line] : cases) {
    CAPTURE(source);
    try {
      parse_assignments(source);
      FAIL("accepted");
    } catch (const LiteralError& error) {
      CHECK(line_of(source, error.offset()) == line);
    }
  }
}

}  // namespace
}  // namespace demask
