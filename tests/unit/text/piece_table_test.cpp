#include "text/piece_table.h"

#include <string>

#include "tests/support/catch.h"

using Catch::Matchers::ContainsSubstring;
using demask::PieceTable;

TEST_CASE("pieces are found by id and by bytes, with gaps between ids") {
  PieceTable table;
  for (int64_t id = 0; id < 5000; ++id) {
    REQUIRE(table.add(3 * id, "piece " + std::to_string(id)).empty());
  }
  CHECK(table.size() == 3 * 4999 + 1);
  for (int64_t id = 0; id < 5000; ++id) {
    const std::string piece = "piece " + std::to_string(id);
    REQUIRE(table.find(piece) == 3 * id);
    REQUIRE(table.piece(3 * id) == piece);
    REQUIRE_FALSE(table.has(3 * id + 1));
  }
  CHECK_FALSE(table.find("piece"));
  CHECK_FALSE(table.has(-1));
  CHECK(table.piece(1).empty());
}

TEST_CASE("ids given twice, pieces given twice, and what is too large are refused") {
  PieceTable table;
  CHECK(table.add(0, "a").empty());
  CHECK_THAT(table.add(0, "b"), ContainsSubstring("two pieces have the id 0: 'a' and 'b'"));
  CHECK_THAT(table.add(1, "a"), ContainsSubstring("'a' has two ids: 0 and 1"));
  CHECK_THAT(table.add(-1, "c"), ContainsSubstring("id -1"));
  CHECK_THAT(table.add(int64_t{1} << 40, "c"), ContainsSubstring("ids are 0 to 1048575"));
  CHECK_THAT(table.add(1, std::string(513, 'x')), ContainsSubstring("has 513 bytes"));
  CHECK(table.add(1, "a", false).empty());  // a text that is no piece of words
  CHECK(table.find("a") == 0);
}
