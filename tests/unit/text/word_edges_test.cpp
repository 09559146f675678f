#include "text/word_edges.h"

#include "tests/support/catch.h"

using namespace demask;

TEST_CASE("A piece goes on with a word where it begins with a letter or an apostrophe before one") {
  CHECK(begins_within_word("ing"));
  CHECK(begins_within_word("\u00E9tait"));
  CHECK(begins_within_word("'s"));
  CHECK(begins_within_word("s, and"));
  CHECK_FALSE(begins_within_word(" the"));
  CHECK_FALSE(begins_within_word("'"));
  CHECK_FALSE(begins_within_word("' he"));
  CHECK_FALSE(begins_within_word("7th"));
  CHECK_FALSE(begins_within_word("\n"));
  CHECK_FALSE(begins_within_word(""));
}

TEST_CASE("A piece leaves a word open where it ends with a letter") {
  CHECK(ends_within_word(" th"));
  CHECK(ends_within_word(", h"));
  CHECK(ends_within_word("\u0436"));
  CHECK_FALSE(ends_within_word("the "));
  CHECK_FALSE(ends_within_word("end."));
  CHECK_FALSE(ends_within_word("don'"));
  CHECK_FALSE(ends_within_word(""));
}

TEST_CASE("Pieces that part a character belong together") {
  // The two bytes of an e acute, and of an ideograph of three the first and the others.
  CHECK(ends_within_word("caf\xC3"));
  CHECK(begins_within_word("\xA9s"));
  CHECK(ends_within_word("\xE6"));
  CHECK(ends_within_word("\xE6\xBC"));
  CHECK(begins_within_word("\xBC\xA2"));
  CHECK(ends_within_word("\xBC"));  // nobody knows what follows
}

TEST_CASE("Letters of scripts without spaces make no words, which would be sentences") {
  for (const char* piece : {"\u6F22\u5B57", "\u3072\u3089", "\u0E44\u0E17\u0E22", "\U00020000"}) {
    CAPTURE(piece);
    CHECK_FALSE(begins_within_word(piece));
    CHECK_FALSE(ends_within_word(piece));
  }
  CHECK(begins_within_word("\uD55C"));  // Hangul has spaces
  CHECK(ends_within_word("\u05D0"));
}
