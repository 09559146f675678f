#include "core/utf8.h"

#include <string>

#include "tests/support/catch.h"

namespace demask {
namespace {

TEST_CASE("A character has one to four bytes, by its value") {
  // The bounds of RFC 3629, section 4.
  CHECK(utf8_length(std::string(1, '\0')) == 1);
  CHECK(utf8_length("\x7F") == 1);
  CHECK(utf8_length("\xC2\x80") == 2);
  CHECK(utf8_length("\xDF\xBF") == 2);
  CHECK(utf8_length("\xE0\xA0\x80") == 3);
  CHECK(utf8_length("\xED\x9F\xBF") == 3);
  CHECK(utf8_length("\xEE\x80\x80") == 3);
  CHECK(utf8_length("\xF0\x90\x80\x80") == 4);
  CHECK(utf8_length("\xF4\x8F\xBF\xBF") == 4);
  CHECK(utf8_length("é and more") == 2);
}

TEST_CASE("Overlong forms, surrogates, what is beyond U+10FFFF and torn sequences are no characters") {
  for (const std::string bytes : {"", "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                                  "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE",
                                  "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC3(", "\xE2(\x82", "\xF0\x9F(\x98"}) {
    CAPTURE(bytes);
    CHECK(utf8_length(bytes) == 0);
    CHECK(decode_utf8(bytes) == 0xFFFD);
    CHECK_FALSE(is_one_character(bytes));
  }
}

TEST_CASE("Valid bytes end where the first bad one is") {
  CHECK(valid_utf8_bytes("") == 0);
  CHECK(valid_utf8_bytes("aé€😀") == 10);
  CHECK(valid_utf8_bytes("aé\xFFz") == 3);
  CHECK(is_utf8(""));
  CHECK(is_utf8("aé€😀"));
  CHECK_FALSE(is_utf8("aé\xE2\x82"));
}

TEST_CASE("One character is neither none nor two") {
  CHECK(is_one_character("#"));
  CHECK(is_one_character("😀"));
  CHECK_FALSE(is_one_character("ab"));
  CHECK_FALSE(is_one_character("éa"));
}

TEST_CASE("Every code point is read as it was written") {
  CHECK(decode_utf8("€") == 0x20AC);
  CHECK(encode_utf8(0x20AC) == "€");
  for (uint32_t point = 0; point <= 0x10FFFF; point += point == 0xD7FF ? 0x801 : 1) {
    const std::string bytes = encode_utf8(point);
    if (decode_utf8(bytes) != point || !is_one_character(bytes)) {
      FAIL("U+" << std::hex << point);
    }
  }
}

// Examples of the Unicode Standard 15, section 3.9: tables 3-8 to 3-11.
TEST_CASE("What is not UTF-8 becomes U+FFFD, one for each maximal subpart") {
  const std::string r = "\uFFFD";
  CHECK(repair_utf8("") == "");
  CHECK(repair_utf8("a\u00E9\U0001F600") == "a\u00E9\U0001F600");
  CHECK(repair_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(repair_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(repair_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == r + r + r + r + r + "A" + r + r + "B");
  CHECK(repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
}

TEST_CASE("A text splits into its characters, and bytes that belong to none stand alone") {
  CHECK(characters_of("aé€😀") == std::vector<std::string_view>{"a", "é", "€", "😀"});
  CHECK(characters_of("\xE2\x82é\xFF") == std::vector<std::string_view>{"\xE2", "\x82", "é", "\xFF"});
  CHECK(characters_of("").empty());
}

}  // namespace
}  // namespace demask
