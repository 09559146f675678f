#include "output/live_frame.h"

#include <cmath>
#include <memory>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/word_pieces.h"
#include "tests/unit/output/virtual_screen.h"
#include "text/character_vocabulary.h"

namespace demask {
namespace {

using testing::VirtualScreen;

const std::vector<Colours> all_colours = {Colours::none, Colours::indexed, Colours::direct};

// A screen, and what is drawn on it one frame after the other.
struct Stage {
  explicit Stage(std::vector<std::optional<std::string>> texts, ScreenSize its_size = {10, 20})
      : Stage(std::make_unique<CharacterVocabulary>(std::move(texts)), its_size) {}
  explicit Stage(std::unique_ptr<Vocabulary> its_vocabulary, ScreenSize its_size = {10, 20})
      : vocabulary(std::move(its_vocabulary)),
        mask(vocabulary->size()),
        glyphs(*vocabulary, mask),
        size(its_size),
        screen(size.rows, size.columns) {}

  void draw(const std::vector<ShownToken>& tokens) {
    screen.write(draw_frame(status, tokens, glyphs, colours, size, viewport));
  }
  // All of these kept.
  void draw_ids(const std::vector<int64_t>& ids) {
    std::vector<ShownToken> tokens;
    tokens.reserve(ids.size());
    for (const int64_t id : ids) {
      tokens.push_back({id, id == mask ? TokenState::masked : TokenState::kept, 0.5F});
    }
    draw(tokens);
  }
  std::vector<std::string> text() const {
    std::vector<std::string> rows;
    for (int row = 1; row <= text_rows(size); ++row) {
      rows.push_back(screen.row(static_cast<size_t>(row)));
    }
    while (!rows.empty() && rows.back().empty()) {
      rows.pop_back();
    }
    return rows;
  }

  std::unique_ptr<Vocabulary> vocabulary;
  int64_t mask;
  GlyphTable glyphs;
  ScreenSize size;
  VirtualScreen screen;
  LiveStatus status;
  Viewport viewport;
  Colours colours = Colours::indexed;
};

using Rows = std::vector<std::string>;

TEST_CASE("the environment says which colours, and NO_COLOR says none") {
  CHECK(choose_colours(nullptr, nullptr) == Colours::indexed);
  CHECK(choose_colours(nullptr, "truecolor") == Colours::direct);
  CHECK(choose_colours("", "24bit") == Colours::direct);
  CHECK(choose_colours("1", "truecolor") == Colours::none);
}

TEST_CASE("every position keeps its place while tokens come and go") {
  Stage stage({"a", "\n"}, {10, 4});
  stage.draw_ids({2, 2, 2, 2, 2, 0});
  CHECK(stage.text() == Rows{"····", "·a"});
  stage.draw_ids({0, 1, 2, 0, 2, 0});
  CHECK(stage.text() == Rows{"a⏎·a", "·a"});
}

TEST_CASE("with line breaks a line end ends the row, but not one that is masked again") {
  Stage stage({"a", "\n"});
  stage.viewport.line_breaks = true;
  stage.draw_ids({0, 1, 1, 0, 0});
  CHECK(stage.text() == Rows{"a", "", "aa"});
  stage.draw(
      {{0, TokenState::kept, 1}, {1, TokenState::leaving, 1}, {1, TokenState::masked, 1}, {0, TokenState::kept, 1}});
  CHECK(stage.text() == Rows{"a⏎·a"});
}

TEST_CASE("wide characters and narrow ones stand in a straight grid and never cross the right edge") {
  Stage stage({"a", "漢", "\u0301"}, {10, 5});  // two cells a row, and one column over
  stage.draw_ids({0, 1, 2, 1, 3});
  CHECK(stage.text() == Rows{"a 漢", "◌\u0301 漢", "·"});
  CHECK(stage.screen.at(1, 2).text == "漢");
  CHECK(stage.screen.at(2, 2).text == "漢");
}

TEST_CASE("tokens of several characters flow by the cells they take") {
  Stage stage({"the ", "漢字", "a"}, {10, 5});
  stage.draw_ids({0, 1, 2, 3});
  CHECK(stage.text() == Rows{"the", "漢字a", "·"});
}

Stage pieces_on_stage(std::vector<std::string> pieces, ScreenSize size, std::set<int64_t> special = {}) {
  return Stage(std::make_unique<demask::testing::WordPieces>(std::move(pieces), std::move(special)), size);
}

TEST_CASE("word pieces flow as text does: rows end between words, and the blank there is left out") {
  Stage stage = pieces_on_stage({"The", " demo", "cracy", " of", " it"}, {10, 10});
  stage.draw_ids({0, 1, 2, 3, 4});
  CHECK(stage.text() == Rows{"The", "democracy", "of it"});
  stage.draw_ids({1, 2, 4, 4, 4, 4});  // " democracy" fills the row
  CHECK(stage.text() == Rows{" democracy", "it it it", "it"});
}

TEST_CASE("a mask among word pieces has one cell, beside which a row may end") {
  Stage stage = pieces_on_stage({"The", " cat"}, {10, 8});
  stage.draw_ids({2, 2, 2, 2, 2, 2, 2, 2, 2, 2});
  CHECK(stage.text() == Rows{"········", "··"});
  stage.draw_ids({0, 2, 1, 2, 2, 1});
  CHECK(stage.text() == Rows{"The· cat", "·· cat"});
}

TEST_CASE("line ends within pieces break lines where these are wanted") {
  Stage stage = pieces_on_stage({"a.\n\nThe", " end", "\n"}, {10, 20});
  stage.draw_ids({0, 1, 2, 1});
  CHECK(stage.text() == Rows{"a.⏎⏎The end⏎ end"});
  stage.viewport.line_breaks = true;
  stage.draw_ids({0, 1, 2, 1});
  CHECK(stage.text() == Rows{"a.", "", "The end", " end"});
  stage.draw({{0, TokenState::kept, 1}, {2, TokenState::leaving, 1}, {1, TokenState::kept, 1}});
  CHECK(stage.text() == Rows{"a.", "", "The⏎ end"});
}

TEST_CASE("parts of a character show as one when all are there, and as stand-ins beside a mask") {
  Stage stage = pieces_on_stage({" \xf0\x9f", "\x98", "\x80", "!"}, {10, 20});
  stage.draw_ids({3, 0, 1, 4, 3});
  CHECK(stage.text() == Rows{"! \uFFFD\uFFFD·!"});
  stage.draw_ids({3, 0, 1, 2, 3});
  CHECK(stage.text() == Rows{"! 😀!"});
  CHECK(stage.screen.at(1, 4).text == "!");
}

TEST_CASE("wide characters of pieces wrap before the right edge") {
  Stage stage = pieces_on_stage({"漢字", "a"}, {10, 5});
  stage.draw_ids({0, 0, 1, 0});
  CHECK(stage.text() == Rows{"漢字", "漢字a", "漢字"});
}

TEST_CASE("a special token is dim once it is there to stay, and its text otherwise is not") {
  Stage stage = pieces_on_stage({"<|e|>", "<", "|"}, {10, 20}, {0});
  stage.draw({{0, TokenState::kept, 1}, {1, TokenState::kept, 1}, {0, TokenState::given, 1}});
  CHECK(stage.text() == Rows{"<|e|><<|e|>"});
  CHECK(stage.screen.at(1, 0).style == "2;" + stage.screen.at(1, 5).style);
  CHECK(stage.screen.at(1, 6).style == "2");
}

TEST_CASE("control characters of tokens never reach the terminal") {
  Stage stage({std::string("\0", 1), "\x1b", "\r", "\u009b", "\x1b]0;x\a"});
  stage.draw_ids({0, 1, 2, 3, 4});  // the screen throws at a control character
  CHECK(stage.text() == Rows{"␀␛␍\uFFFD␛]0;x␇"});
}

TEST_CASE("states are told apart with colours and without") {
  Stage stage({"g", "d", "k", "l"});
  for (const Colours colours : all_colours) {
    stage.colours = colours;
    stage.draw({{0, TokenState::given, 1},
                {1, TokenState::drawn, 0.3F},
                {2, TokenState::kept, 0.3F},
                {3, TokenState::leaving, 1},
                {4, TokenState::masked, 1}});
    std::set<std::string> styles;
    for (size_t column = 0; column < 5; ++column) {
      styles.insert(stage.screen.at(1, column).style);
    }
    // Without colours a kept token and a given one look alike: both stay.
    CHECK(styles.size() == (colours == Colours::none ? 4 : 5));
    CHECK(stage.screen.at(1, 0).style.empty());
    CHECK(stage.screen.at(1, 3).text == "l");
  }
}

TEST_CASE("without colours there is not one in the frame") {
  Stage stage({"a", "b"});
  stage.colours = Colours::none;
  for (const TokenState state :
       {TokenState::given, TokenState::masked, TokenState::drawn, TokenState::kept, TokenState::leaving}) {
    const std::string frame =
        draw_frame(stage.status, {{0, state, 0.5F}}, stage.glyphs, Colours::none, stage.size, stage.viewport);
    for (size_t at = frame.find("\x1b["); at != std::string::npos; at = frame.find("\x1b[", at + 1)) {
      const size_t end = frame.find_first_of("HKm", at);
      const std::string parameters = ";" + frame.substr(at + 2, end - at - 2);
      CAPTURE(parameters);
      CHECK((frame[end] != 'm' || parameters.find(";3") == std::string::npos));
    }
  }
}

TEST_CASE("what is more certain has another colour") {
  Stage stage({"a"});
  for (const Colours colours : {Colours::indexed, Colours::direct}) {
    stage.colours = colours;
    std::vector<ShownToken> tokens;
    for (const float probability : {0.1F, 0.3F, 0.5F, 0.7F, 0.9F, 1.0F, 0.0F, std::nanf("")}) {
      tokens.push_back({0, TokenState::kept, probability});
    }
    stage.draw(tokens);
    CHECK(stage.screen.styles_of("a").size() >= 5);
    CHECK(stage.screen.at(1, 4) == stage.screen.at(1, 5));
    CHECK(stage.screen.at(1, 0) == stage.screen.at(1, 6));
    CHECK(stage.screen.at(1, 0) == stage.screen.at(1, 7));
  }
}

TEST_CASE("the header says where the run stands") {
  Stage stage({"a"}, {10, 100});
  stage.status = {true, 1, 4, 5, 2, 20, 0.436, 1660.2, 12, true, 50};
  stage.draw_ids({0});
  CHECK(stage.screen.row(0) ==
        "Sample 2/4 (index 5)  Iteration 3/20  43.6% masked  paused  1660 tokens/s  12 forwards");
  stage.status.steps = 0;
  stage.status.diffusion = false;
  stage.draw_ids({0});
  CHECK(stage.screen.row(0).find("Token 3  paused") != std::string::npos);
  stage.status = {};
  stage.draw_ids({});
  CHECK(stage.screen.row(0) == "Sample 1/1 (index 0)  starting");
}

TEST_CASE("the footer names the keys that fit, and none in part") {
  Stage wide({"a"}, {10, 100});
  wide.status.samples = 2;
  wide.status.pace_ms = 50;
  wide.draw_ids({0});
  CHECK(wide.screen.row(9) == "q quit  space pause  n/p sample  +/- pace 50 ms  l line breaks  ↑↓ scroll");
  Stage narrow({"a"}, {10, 25});
  narrow.draw_ids({0});
  CHECK(narrow.screen.row(9) == "q quit  space pause");
}

TEST_CASE("a text taller than the screen is scrolled within its bounds") {
  std::vector<int64_t> ids;
  Stage stage({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "\n"}, {5, 60});  // three rows of text
  for (int64_t id = 0; id < 10; ++id) {
    ids.insert(ids.end(), {id, 10});
  }
  stage.viewport.line_breaks = true;
  stage.draw_ids(ids);
  CHECK(stage.text() == Rows{"a", "b", "c"});
  CHECK(stage.screen.row(0).find("rows 1-3 of 11") != std::string::npos);
  stage.viewport.top = 4;
  stage.draw_ids(ids);
  CHECK(stage.text() == Rows{"e", "f", "g"});
  stage.viewport.top = 1000;
  stage.draw_ids(ids);
  CHECK(stage.text() == Rows{"i", "j"});
  CHECK(stage.viewport.top == stage.viewport.last_top);
  stage.viewport.top = -1000;
  stage.draw_ids(ids);
  CHECK(stage.viewport.top == 0);
  stage.viewport.follows_end = true;
  stage.draw_ids(ids);
  CHECK(stage.text() == Rows{"i", "j"});
}

TEST_CASE("a frame overwrites all of the one before") {
  Stage stage({"a"}, {6, 8});
  stage.draw_ids(std::vector<int64_t>(24, 0));
  stage.draw_ids({0});
  CHECK(stage.text() == Rows{"a"});
}

TEST_CASE("screens of any size are drawn on, down to a single cell") {
  for (const auto& texts :
       std::vector<std::vector<std::optional<std::string>>>{{"a", "\n"}, {"漢", "a"}, {"漢字the", "a"}}) {
    for (int rows = 0; rows <= 12; ++rows) {
      for (int columns = 0; columns <= 12; ++columns) {
        CAPTURE(rows, columns);
        Stage stage(texts, {rows, columns});
        VirtualScreen screen(std::max(rows, 1), std::max(columns, 1));
        for (const bool line_breaks : {false, true}) {
          stage.viewport.line_breaks = line_breaks;
          std::string frame;
          frame =
              draw_frame(stage.status, {{0, TokenState::kept, 1}, {1, TokenState::kept, 1}, {2, TokenState::masked, 1}},
                         stage.glyphs, Colours::indexed, stage.size, stage.viewport);
          CHECK_NOTHROW(screen.write(frame));
        }
        Stage pieces = pieces_on_stage({"漢 the\n", "\xf0\x9f", "\x98\x80"}, {rows, columns});
        const std::string frame = draw_frame(
            pieces.status,
            {{0, TokenState::kept, 1}, {1, TokenState::kept, 1}, {2, TokenState::kept, 1}, {0, TokenState::masked, 1}},
            pieces.glyphs, Colours::indexed, pieces.size, pieces.viewport);
        CHECK_NOTHROW(screen.write(frame));
      }
    }
  }
}

}  // namespace
}  // namespace demask
