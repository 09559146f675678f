#include "text/unicode.h"

#include <string>

#include "tests/support/catch.h"

using namespace demask;

// Rows of Unicode 15's NormalizationTest.txt: source and NFC.
TEST_CASE("texts are composed as Unicode's test file says") {
  CHECK(to_nfc("plain \u00E9") == "plain \u00E9");
  CHECK(to_nfc("e\u0301") == "\u00E9");
  CHECK(to_nfc("\u1E0A\u0323") == "\u1E0C\u0307");
  CHECK(to_nfc("\u212B") == "\u00C5");              // Angstrom
  CHECK(to_nfc("\u1112\u1161\u11AB") == "\uD55C");  // Hangul
  CHECK(to_nfc("\uAC00\u11A8") == "\uAC01");
  CHECK(to_nfc("\u0958") == "\u0915\u093C");  // excluded from composition
  CHECK(to_nfc("\uFB01") == "\uFB01");        // a compatibility character stays
  CHECK(to_nfc("a\u0315\u0300\u05AE\u0300b") == "\u00E0\u05AE\u0300\u0315b");
  CHECK(to_nfc("\u0B47\u0300\u0B3E") == "\u0B47\u0300\u0B3E");  // blocked
}

TEST_CASE("a million marks in the wrong order are sorted, not swapped one by one") {
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) {
    text += "\u0315\u0323";  // classes 232 and 220
  }
  const std::string composed = to_nfc(text);
  CHECK(composed.size() == text.size());  // one mark of two bytes goes, and a letter of three comes for one of one
  CHECK(composed.substr(0, 7) == "\u1EA1\u0323\u0323");
  CHECK(composed.substr(composed.size() - 4) == "\u0315\u0315");
}

TEST_CASE("white space and word characters are Unicode's") {
  for (const uint32_t point : {0x09U, 0x0DU, 0x20U, 0x85U, 0xA0U, 0x1680U, 0x2028U, 0x3000U}) {
    CHECK(is_white_space(point));
  }
  for (const uint32_t point : {0x08U, 0x1CU, 0x180EU, 0x200BU, 0xFEFFU, uint32_t{'a'}}) {
    CHECK_FALSE(is_white_space(point));
  }
  for (const uint32_t point : {uint32_t{'a'}, uint32_t{'_'}, uint32_t{'7'}, 0xE9U, 0x4E2DU, 0x301U, 0x24B6U, 0x200DU}) {
    CHECK(is_word_character(point));
  }
  for (const uint32_t point : {uint32_t{'-'}, uint32_t{' '}, 0xBDU, 0x1F600U}) {
    CHECK_FALSE(is_word_character(point));
  }
}
