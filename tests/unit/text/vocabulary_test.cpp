#include "text/vocabulary.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "text/character_vocabulary.h"

using Catch::Matchers::ContainsSubstring;
using demask::CharacterVocabulary;

TEST_CASE("ids without text are shown as unknown and the mask as mask") {
  const CharacterVocabulary vocabulary({"a", std::nullopt, "c", std::nullopt});
  CHECK(vocabulary.size() == 3);
  CHECK(vocabulary.has_text(2));
  CHECK_FALSE(vocabulary.has_text(1));
  CHECK_FALSE(vocabulary.has_text(3));
  CHECK_FALSE(vocabulary.has_text(-1));
  CHECK(vocabulary.decode({0, 1, 2, 3, -1, INT64_MAX}, 3) == "a[UNK]c[MASK][UNK][UNK]");
}

TEST_CASE("a decoded text is UTF-8 whatever the tokens are, their bytes are exact, and ids without text have none") {
  const CharacterVocabulary vocabulary({"\xF0\x9F", "\x98\x80", "a", std::nullopt});
  CHECK(vocabulary.decode({2, 0, 1}) == "a\U0001F600");
  CHECK(vocabulary.decode({0, 2, 1}) == "\uFFFDa\uFFFD\uFFFD");
  CHECK(vocabulary.bytes({0, 2, 3, 7}) ==
        "\xF0\x9F"
        "a");
  CHECK(vocabulary.piece(1) == "\x98\x80");
  CHECK(vocabulary.piece(3).empty());
}

TEST_CASE("a token that looks like a mask is found and named with its id, and nothing is guessed from letters") {
  const auto advice = [](std::vector<std::optional<std::string>> tokens) {
    return mask_token_advice(CharacterVocabulary(std::move(tokens)));
  };
  CHECK_THAT(advice({"a", "[MASK]", "_"}),
             ContainsSubstring("'[MASK]' as id 1") && ContainsSubstring("--mask_token_id=1"));
  CHECK_THAT(advice({"a", std::nullopt, "_"}), ContainsSubstring("'_' as id 2"));
  CHECK_THAT(advice({"<mask>"}), ContainsSubstring("'<mask>' as id 0"));
  CHECK_FALSE(likely_mask_token(CharacterVocabulary({"a", "#", "?"})));
  CHECK_THAT(advice({"a"}), ContainsSubstring("--mask_token_id"));
}
