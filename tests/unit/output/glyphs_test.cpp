#include "output/glyphs.h"

#include "tests/support/catch.h"
#include "tests/support/word_pieces.h"
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

// What each of consecutive pieces shows.
std::vector<std::string> shown_pieces(const std::vector<std::string_view>& pieces) {
  std::vector<std::string> texts;
  for (const std::vector<Glyph>& glyphs : glyphs_of_pieces(pieces)) {
    texts.push_back(text_of(glyphs));
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST_CASE("a character whose bytes are spread over pieces shows in the first, once all are there") {
  CHECK(shown_pieces({"a\xf0\x9f", "\x98",
                      "\x80"
                      "b"}) == Texts{"a😀", "", "b"});
  CHECK(width_of(glyphs_of_pieces({"\xf0\x9f", "\x98\x80"}).front()) == 2);
  CHECK(shown_pieces({" \xe6", "\xbc", "\xa2\xe5", "\xad\x97"}) == Texts{" 漢", "", "字", ""});
}

TEST_CASE("each piece with a part of a character that is not whole shows a stand-in") {
  CHECK(shown_pieces({"\xf0\x9f", "\x98", "b"}) == Texts{"\uFFFD", "\uFFFD", "b"});
  CHECK(shown_pieces({"\xf0\x9f\x98"}) == Texts{"\uFFFD"});
  CHECK(shown_pieces({"\x98", "\x80"}) == Texts{"\uFFFD", "\uFFFD"});
  CHECK(shown_pieces({"\xf0\x9f", "\xf0\x9f", "\x98\x80"}) == Texts{"\uFFFD", "😀", ""});
  CHECK(shown_pieces({"\xff\xfe"}) == Texts{"\uFFFD\uFFFD"});
  CHECK(shown("\xe6\xbc") == "\uFFFD");
}

TEST_CASE("a mark stands on the character of the piece before it") {
  CHECK(shown_pieces({"e", "\u0301", " a"}) == Texts{"e\u0301", "", " a"});
  CHECK(shown_pieces({"\n", "\u0301"}) == Texts{"⏎", "◌\u0301"});
  CHECK(shown_pieces({"❤", "\ufe0f"}) == Texts{"❤", ""});
  CHECK(shown_pieces({}) == Texts{});
  CHECK(shown_pieces({""}) == Texts{""});
}

TEST_CASE("word pieces flow, and a vocabulary of 150,000 is not gone through") {
  class Counting : public demask::testing::WordPieces {
   public:
    Counting() : WordPieces({"a"}) {}
    int64_t size() const override { return 150'000; }
    std::string_view piece(int64_t id) const override {
      ++asked;
      return WordPieces::piece(id);
    }
    mutable int asked = 0;
  };
  const Counting vocabulary;
  const GlyphTable table(vocabulary, 150'000);
  CHECK(table.cell_width() == 0);
  CHECK(vocabulary.asked == 0);
  CHECK(table.is_mask(150'000));
}

TEST_CASE("cells are as wide as the widest token, and give way to flowing text where one is wider than two") {
  const auto width = [](std::vector<std::optional<std::string>> tokens) {
    const CharacterVocabulary vocabulary(std::move(tokens));
    return GlyphTable(vocabulary, std::nullopt).cell_width();
  };
  CHECK(width({"a", "\n", "\u0301"}) == 1);
  CHECK(width({"a", "漢"}) == 2);
  CHECK(width({"a", "th"}) == 2);
  CHECK(width({"a", "the"}) == 0);
}

}  // namespace
}  // namespace demask
