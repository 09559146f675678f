#include "text/character_vocabulary.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"

using Catch::Matchers::ContainsSubstring;
using demask::CharacterVocabulary;
using namespace demask::testing;
using namespace std::string_literals;
using Ids = std::vector<int64_t>;

TEST_CASE("encoding takes the longest token first and lists each unknown code point once, in order") {
  const CharacterVocabulary vocabulary({"a", "ab", "abc", "é", "b", ""});
  CHECK(vocabulary.encode("abcabéab").ids == Ids{2, 1, 3, 1});
  const auto encoding = vocabulary.encode("a🙂xa🙂b");
  CHECK(encoding.ids == Ids{0, 0, 4});
  CHECK(encoding.unknown == std::vector<std::string>{"🙂", "x"});
  CHECK(vocabulary.encode("").ids.empty());
}

TEST_CASE("text that is not UTF-8 is refused") {
  const CharacterVocabulary vocabulary({"a"});
  for (const std::string& text :
       {"\x80"s, "a\xc3"s, "\xc0\xaf"s, "\xed\xa0\x80"s, "\xf4\x90\x80\x80"s, "\xe2\x82"s, "\xff"s}) {
    CHECK_THAT(bad_input_message([&] { vocabulary.encode(text); }), ContainsSubstring("is not UTF-8"));
  }
  CHECK(vocabulary.encode("\u07ff\uffff\U0010ffff").unknown.size() == 3);
}
