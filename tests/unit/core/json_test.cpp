#include "core/json.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

using Catch::Matchers::ContainsSubstring;

namespace demask {
namespace {

std::string flaw_of(const std::string& text, int deepest) {
  try {
    parse_json(text, deepest);
    return "none";
  } catch (const JsonFlaw& flaw) {
    return flaw.what();
  }
}

TEST_CASE("JSON within its bounds is parsed, and one key may stand in several objects") {
  CHECK(parse_json(R"({"a": {"b": 1}, "b": [{"a": 2}, {"a": 3}]})", 3)["b"][1]["a"] == 3);
  CHECK(parse_json("7", 0) == 7);
}

TEST_CASE("JSON that nests too deep, repeats a key or is none is a flaw") {
  CHECK_THAT(flaw_of("[[1]]", 1), ContainsSubstring("deeper than 1 levels"));
  CHECK_THAT(flaw_of(std::string(1'000'000, '['), 8), ContainsSubstring("deeper than 8 levels"));
  CHECK_THAT(flaw_of(R"({"x": {"a": 1, "a": 2}})", 8), ContainsSubstring("the key 'a' twice"));
  CHECK_THAT(flaw_of("{", 8), ContainsSubstring("it is not JSON: parse error"));
  CHECK_THAT(flaw_of("\"\xff\"", 8), ContainsSubstring("it is not JSON"));
  CHECK_THAT(flaw_of("", 8), ContainsSubstring("it is not JSON"));
}

TEST_CASE("Text that is not UTF-8 is written with U+FFFD for what is not") {
  CHECK(dump_json(nlohmann::json("a\xFFz")) == "\"a\uFFFDz\"");
  CHECK(dump_json(std::string("\xC3\n")) == "\"\uFFFD\\n\"");
  CHECK(dump_json(nlohmann::ordered_json{{"z", "\xC3"}, {"a", 1}}) == "{\"z\":\"\uFFFD\",\"a\":1}");
}

TEST_CASE("JSON is one line, or has its members on lines of their own") {
  CHECK(dump_json(nlohmann::json::parse("[1, 2]")) == "[1,2]");
  CHECK(dump_json(nlohmann::json::parse("[1]"), 2) == "[\n  1\n]");
}

TEST_CASE("The reason that a parser gives stands without the parser's own name for it") {
  CHECK(json_error_reason("[json.exception.parse_error.101] parse error at line 1") == "parse error at line 1");
  CHECK(json_error_reason("something else] than that") == "something else] than that");
  CHECK(json_error_reason("") == "");
}

}  // namespace
}  // namespace demask
