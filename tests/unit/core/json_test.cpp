#include "core/json.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

namespace demask {
namespace {

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
