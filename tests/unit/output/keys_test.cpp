#include "output/keys.h"

#include <algorithm>

#include "tests/support/catch.h"

namespace demask {
namespace {

using Name = Key::Name;

bool are(const std::vector<Key>& keys, const std::vector<Name>& names) {
  return std::equal(keys.begin(), keys.end(), names.begin(), names.end(),
                    [](const Key& key, Name name) { return key.name == name; });
}

TEST_CASE("characters are taken as they are typed") {
  KeyReader reader;
  const std::vector<Key> keys = reader.read("q\t1");
  REQUIRE(are(keys, {Name::character, Name::character, Name::character}));
  CHECK((keys[0].character == 'q' && keys[1].character == '\t' && keys[2].character == '1'));
}

TEST_CASE("arrows and pages are known in the forms that terminals send") {
  KeyReader reader;
  CHECK(are(reader.read("\x1b[A\x1b[B\x1bOC\x1bOD\x1b[5~\x1b[6~\x1b[H\x1b[4~"),
            {Name::up, Name::down, Name::right, Name::left, Name::page_up, Name::page_down, Name::home, Name::end}));
}

TEST_CASE("a sequence that comes in pieces is one key, and one that is unknown is none of the known") {
  KeyReader reader;
  CHECK(reader.read("\x1b").empty());
  CHECK(reader.read("[").empty());
  CHECK(are(reader.read("A"), {Name::up}));
  CHECK(are(reader.read("\x1b[1;5Aq"), {Name::other, Name::character}));
  CHECK(are(reader.read("\x1bxq"), {Name::character}));  // Alt with x
}

TEST_CASE("an endless sequence is given up") {
  KeyReader reader;
  reader.read("\x1b[");
  for (int i = 0; i < 100; ++i) {
    reader.read("00000000");
  }
  CHECK(reader.read("q").back().character == 'q');
}

}  // namespace
}  // namespace demask
