#include "output/glyphs.h"

#include "tests/support/catch.h"
#include "text/character_vocabulary.h"

namespace demask {
namespace {

std::string text_of(const std::vector<Glyph>& glyphs) {
  std::string text;
  for (const Glyph& glyph : glyphs) {
    text += glyph.text;
  }
  return text;
}

std::string shown(std::string_view token) {
  return text_of(to_glyphs(token));
}

TEST_CASE("what can be seen is shown as it is, in the cells it takes") {
  for (const auto& [token, width] : std::vector<std::pair<std::string, int>>{
           {"a", 1}, {" ", 1}, {"é", 1}, {"→", 1}, {"漢", 2}, {"😀", 2}, {"the", 3}, {"a漢", 3}}) {
    CAPTURE(token);
    CHECK(shown(token) == token);
    CHECK(width_of(to_glyphs(token)) == width);
  }
}

TEST_CASE("no character reaches the terminal that could steer it or make it lie") {
  CHECK(shown("\x1b") == "␛");
  CHECK(shown(std::string_view("\0", 1)) == "␀");
  CHECK(shown("\n") == "⏎");
  CHECK(shown("\t") == "␉");
  CHECK(shown("\x7f") == "␡");
  CHECK(shown("\x1b[2J") == "␛[2J");
  for (const std::string invisible : {"\u0085", "\u009b", "\u00ad", "\u061c", "\u200b", "\u200d", "\u202e", "\u2066",
                                      "\u2028", "\ufeff", "\U000e0041", "\ufe0f", "\u115f"}) {
    CAPTURE(invisible);
    CHECK(shown(invisible) == "\uFFFD");
    CHECK(width_of(to_glyphs(invisible)) == 1);
  }
  for (const std::string blank : {"\u00a0", "\u2003", "\u3000"}) {
    CHECK(shown(blank) == "␣");
    CHECK(width_of(to_glyphs(blank)) == 1);
  }
}

TEST_CASE("a mark stands on the character before it, or on a dotted circle") {
  CHECK(shown("\u0301") == "◌\u0301");
  CHECK(width_of(to_glyphs("\u0301")) == 1);
  CHECK(shown("e\u0301") == "e\u0301");
  CHECK(to_glyphs("e\u0301").size() == 1);
  CHECK(shown("\n\u0301") == "⏎◌\u0301");  // not on a stand-in
  CHECK(shown("❤\ufe0f") == "❤");          // the choice of a form could change the width
}

TEST_CASE("every token has a place, with text or without") {
  const CharacterVocabulary vocabulary({"a", std::nullopt, ""}, 3);
  const GlyphTable table(vocabulary, 3);
  CHECK(text_of(table.of(0)) == "a");
  CHECK(text_of(table.of(3)) == "·");
  for (const int64_t without : {1, 2, 7, -1}) {
    CHECK(text_of(table.of(without)) == "\uFFFD");
  }
}

TEST_CASE("cells are as wide as the widest token, and give way to flowing text where one is wider than two") {
  const auto width = [](std::vector<std::optional<std::string>> tokens) {
    return GlyphTable(CharacterVocabulary(std::move(tokens)), std::nullopt).cell_width();
  };
  CHECK(width({"a", "\n", "\u0301"}) == 1);
  CHECK(width({"a", "漢"}) == 2);
  CHECK(width({"a", "th"}) == 2);
  CHECK(width({"a", "the"}) == 0);
}

}  // namespace
}  // namespace demask
