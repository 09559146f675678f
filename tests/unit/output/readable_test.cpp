#include "output/readable.h"

#include "tests/support/catch.h"

namespace demask {
namespace {

TEST_CASE("quoted characters read as Python's repr") {
  CHECK(repr("a") == "'a'");
  CHECK(repr("\n") == "'\\n'");
  CHECK(repr("'") == "\"'\"");
  CHECK(repr("\"") == "'\"'");
  CHECK(repr("'\"") == "'\\'\"'");
  CHECK(repr("\\") == "'\\\\'");
  CHECK(repr("é") == "'é'");
  CHECK(repr("😀") == "'😀'");
  CHECK(repr("\x1b") == "'\\x1b'");
  CHECK(repr("\x7f") == "'\\x7f'");
  CHECK(repr("\u00a0") == "'\\xa0'");
  CHECK(repr("\u202e") == "'\\u202e'");
}

TEST_CASE("most common items come by count, then by first appearance") {
  const std::vector<int64_t> items{5, 7, 7, 3, 5, 9};
  CHECK(most_common(items, 3) == std::vector<std::pair<int64_t, int64_t>>{{5, 2}, {7, 2}, {3, 1}});
  CHECK(most_common(items, 10).size() == 4);
}

}  // namespace
}  // namespace demask
