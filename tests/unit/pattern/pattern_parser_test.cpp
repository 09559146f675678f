#include "pattern/pattern_parser.h"

#include <chrono>
#include <string>
#include <utility>

#include "core/error.h"
#include "pattern/byte_automaton.h"
#include "tests/support/catch.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace std::string_literals;

namespace {

ByteAutomaton automaton_of(const std::string& pattern) {
  return ByteAutomaton(parse_pattern(pattern), ByteSet{}.set());
}

std::string refusal(const std::string& pattern) {
  try {
    automaton_of(pattern);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_usage);
    return error.what();
  }
  return "";
}

std::string repeated(const std::string& text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) {
    all += text;
  }
  return all;
}

}  // namespace

TEST_CASE("What a pattern cannot have is named, with the character where it stands") {
  for (const auto& [pattern, reason] : {
           std::pair("(a)\\1"s, "a backreference, '\\1', at character 4"s),
           std::pair("a(?=b)"s, "lookaround, '(?=', at character 2"s),
           std::pair("é(?<!b)"s, "lookaround, '(?<!', at character 2"s),
           std::pair("(?P<x>a)"s, "a named group"s),
           std::pair("(?i)a"s, "a group with options"s),
           std::pair("(?>a)"s, "an atomic group"s),
           std::pair("a*?"s, "a lazy repetition, marked by '?', at character 3"s),
           std::pair("a{2}+"s, "a possessive repetition, marked by '+', at character 5"s),
           std::pair("a**"s, "a repetition of a repetition at character 3"s),
           std::pair("a^b"s, "an anchor, '^', inside at character 2"s),
           std::pair("a$b"s, "an anchor, '$', inside at character 2"s),
           std::pair("a\\b"s, "an anchor, '\\b', at character 2"s),
           std::pair("\\p{L}"s, "an escape that demask does not have, '\\p', at character 1"s),
           std::pair("[z-a]"s, "a range backwards, from 'z' to 'a', at character 2"s),
           std::pair("[a-\\d]"s, "a range that ends in a class at character 2"s),
           std::pair("[[:alpha:]]"s, "a POSIX class, '[:', at character 2"s),
           std::pair("[]a]"s, "a class without characters at character 1"s),
           std::pair("[a"s, "'[' has no ']' at character 1"s),
           std::pair("a(b"s, "'(' has no ')' at character 2"s),
           std::pair("a)b"s, "')' has no '(' at character 2"s),
           std::pair("*a"s, "'*' has nothing to repeat at character 1"s),
           std::pair("a|+"s, "'+' has nothing to repeat at character 3"s),
           std::pair("a{x}"s, "'{' begins no repetition at character 2"s),
           std::pair("a{,3}"s, "'{' begins no repetition at character 2"s),
           std::pair("a{3,2}"s, "a repetition from 3 to 2 at character 2"s),
           std::pair("a\\"s, "a '\\' with nothing after it at character 2"s),
           std::pair("\\xg1"s, "'\\x' without a character's number at character 1"s),
           std::pair("\\x{110000}"s, "'\\x' without a character's number"s),
           std::pair("\\x{d800}"s, "'\\x' without a character's number"s),
           std::pair(""s, "pattern is empty"s),
           std::pair("a\xff"s, "pattern is not UTF-8 at byte 2"s),
       }) {
    CAPTURE(pattern);
    CHECK_THAT(refusal(pattern), ContainsSubstring(reason));
  }
}

TEST_CASE("Patterns that need too many states say how many they may have") {
  for (const std::string& pattern :
       {"a{1000000}"s, "(a|b)*a(a|b){20}"s, repeated("a", 1 << 20), "(ab?){0,9999}"s, "[^e]{20000}"s}) {
    CHECK_THAT(refusal(pattern), ContainsSubstring("more than " + std::to_string(most_states) + " states"));
  }
}

TEST_CASE("Patterns that grow without end while they are built are refused") {
  CHECK_THAT(refusal("((a{1000}){1000}){1000}"), ContainsSubstring("pattern is too large"));
  CHECK_THAT(refusal("a{999999999999999999999}"), ContainsSubstring("pattern is too large"));
  CHECK_THAT(refusal("(a?){500000}"), ContainsSubstring("takes too long to make an automaton of"));
}

TEST_CASE("Deep and long patterns are read in time that grows with their length") {
  const size_t depth = 100000;
  CHECK(automaton_of(repeated("(", depth) + "a" + repeated(")", depth)).states() == 2);
  CHECK(automaton_of(repeated("(", depth) + "a" + repeated(")*", depth)).states() == 1);
  CHECK(automaton_of(repeated("(a|", depth) + "a" + repeated(")", depth)).states() == 2);
  CHECK_THAT(refusal(repeated("(", depth)), ContainsSubstring("'(' has no ')' at character 100000"));
  CHECK(automaton_of(repeated("a|", 1 << 18) + "b").states() == 2);
  CHECK(automaton_of("[" + repeated("ab", 1 << 19) + "]").states() == 2);
}

TEST_CASE("Repetition bounds that are not used cost nothing") {
  CHECK(automaton_of("(a*)*").states() == 1);
  CHECK(automaton_of("a{0}").states() == 1);
  CHECK(automaton_of("(a{0}){1000}b").states() == 2);
  CHECK(automaton_of("(a{0,3}){0,3}").states() == 10);
}
