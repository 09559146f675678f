#include "engine/infill.h"

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "text/character_vocabulary.h"

using namespace demask;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int64_t mask = 4;

CharacterVocabulary letters() {
  return CharacterVocabulary({"a", "b", "é", "\n"});
}

GappedTemplate of_parts(const std::vector<InfillPart>& parts) {
  return infill_template("infill", parts, letters(), mask, {});
}

GappedTemplate of_text(const std::string& text, const InfillMarks& marks) {
  return of_parts(infill_parts(text, marks));
}

Template infill(const std::string& text, const std::string& mask_character = "#") {
  return of_text(text, {mask_character, {}, 1, 1}).text;
}

std::string refused(const std::vector<InfillPart>& parts) {
  return demask::testing::message_of([&] { of_parts(parts); });
}

}  // namespace

TEST_CASE("A template's mask characters are free, all else is fixed") {
  const Template text = infill("a##é");
  CHECK(text.tokens == std::vector<int64_t>{0, mask, mask, 2});
  CHECK(text.fixed == std::vector<bool>{true, false, false, true});
  CHECK(text.free_positions() == 2);
}

TEST_CASE("Any code point can be the mask character, one of the vocabulary too") {
  CHECK(infill("a█b", "█").tokens == std::vector<int64_t>{0, mask, 1});
  CHECK(infill("aab", "a").tokens == std::vector<int64_t>{mask, mask, 1});
}

TEST_CASE("A template that is empty, has nothing to fill or unknown characters is refused") {
  CHECK_THROWS_AS(infill(""), Error);
  CHECK_THROWS_AS(infill("ab"), Error);
  CHECK_THROWS_AS(infill("aZ#"), Error);
  CHECK_THAT(refused({}), ContainsSubstring("infill has nothing to fill"));
  CHECK_THAT(refused({{"a", 0, 0}}), ContainsSubstring("infill has nothing to fill"));
  CHECK_THAT(refused({{"a", 0, 0}, {"Z", 0, 0}, {{}, 1, 1}}), ContainsSubstring("'Z'"));
}

TEST_CASE("A gap character stands for a gap, beside masks") {
  const GappedTemplate gapped = of_text("a~#b~", {"#", "~", 2, 3});
  CHECK(gapped.text.tokens == std::vector<int64_t>{0, mask, mask, mask, mask, 1, mask, mask, mask});
  REQUIRE(gapped.gaps.size() == 2);
  CHECK(gapped.gaps[0].first == 1);
  CHECK(gapped.gaps[1].first == 6);
  CHECK((gapped.gaps[0].least == 2 && gapped.gaps[0].most == 3));
}

TEST_CASE("A gap of one possible length is as many masks") {
  const GappedTemplate gapped = of_parts({{"ab", 0, 0}, {{}, 3, 3}});
  CHECK(gapped.gaps.empty());
  CHECK(gapped.text.free_positions() == 3);
}

TEST_CASE("Lengths below 1, in the wrong order or beyond memory are refused") {
  CHECK_THAT(refused({{"a", 0, 0}, {{}, 4, 3}}), ContainsSubstring("part 1") && ContainsSubstring("4 to 3"));
  CHECK_THAT(refused({{{}, 0, 3}}), ContainsSubstring("part 0") && ContainsSubstring("0 to 3"));
  CHECK_THAT(refused({{{}, -2, -1}}), ContainsSubstring("-2 to -1"));
  CHECK_THAT(refused({{{}, 1, INT64_MAX}, {{}, 1, INT64_MAX}}), ContainsSubstring("positions to fill"));
}
