#include "pattern/completions.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/utf8.h"
#include "tests/support/catch.h"
#include "tests/support/pcre2_engine.h"
#include "text/character_vocabulary.h"

using namespace demask;
using demask::testing::Pcre2Engine;
using Ids = std::vector<int64_t>;

namespace {

// Pieces of one character, of several, of a part of one (é is C3 A9), and the end of a text.
const std::vector<std::optional<std::string>> pieces = {"a", "b", "ab", "\xC3", "\xA9", "é", "<end>"};
constexpr int64_t end_token = 6;

struct Case {
  std::string pattern;
  PartialText text;
  bool ends = false;  // whether the end token ends texts
};

PatternSlot slot_of(char mark) {
  return mark == '#'   ? PatternSlot::masked
         : mark == '.' ? PatternSlot::drawn
         : mark == '-' ? PatternSlot::unshown
                       : PatternSlot::given;
}

// marks: '#' masked, '.' drawn, '-' unshown, anything else given.
PartialText text_of(const std::string& marks, const Ids& tokens) {
  PartialText text;
  for (const char mark : marks) {
    text.slots.push_back(slot_of(mark));
  }
  text.tokens = tokens;
  return text;
}

// Every way to fill the masked positions.
std::vector<Ids> all_fillings(size_t masked, int64_t tokens) {
  std::vector<Ids> fillings = {{}};
  for (size_t i = 0; i < masked; ++i) {
    std::vector<Ids> longer;
    for (const Ids& filling : fillings) {
      for (int64_t id = 0; id < tokens; ++id) {
        longer.push_back(filling);
        longer.back().push_back(id);
      }
    }
    fillings = std::move(longer);
  }
  return fillings;
}

// Whether the text filled so matches, by PCRE2 on what would be shown of it.
bool matches(const Case& one, const Ids& filling, const Pcre2Engine& engine) {
  std::string shown;
  bool ended = false;
  size_t masked = 0;
  for (size_t position = 0; position < one.text.slots.size(); ++position) {
    const PatternSlot slot = one.text.slots[position];
    const int64_t id = slot == PatternSlot::masked ? filling[masked++] : one.text.tokens[position];
    const bool is_drawn = slot == PatternSlot::masked || slot == PatternSlot::drawn;
    if (ended && slot == PatternSlot::given) {
      return false;
    }
    ended = ended || (one.ends && is_drawn && id == end_token);
    if (!ended && slot != PatternSlot::unshown) {
      shown += *pieces[static_cast<size_t>(id)];
    }
  }
  return is_utf8(shown) && engine.matches(shown);
}

std::shared_ptr<const TokenAutomaton> compiled(const Case& one, const Ids& allowed = {0, 1, 2, 3, 4, 5, 6}) {
  const CharacterVocabulary vocabulary(pieces);
  return compile_pattern(one.pattern, vocabulary, allowed, one.ends ? std::optional<int64_t>(end_token) : std::nullopt);
}

const std::vector<Case> cases = {
    {"(ab)*", text_of("###", {0, 0, 0})},
    {"[ab]*é[ab]*", text_of("####", {0, 0, 0, 0})},
    {"a.*b", text_of("#a#.#", {0, 0, 0, 2, 0})},
    {"(ab|b)*é?", text_of("-###", {0, 0, 0, 0})},
    {"a{1,3}b?", text_of("####", {0, 0, 0, 0}), true},
    {"(a|b)*<end>a*", text_of("##g##", {0, 0, 6, 0, 0}), true},
    {".*", text_of("###", {0, 0, 0}), true},
    {"é+", text_of("##.#", {0, 0, 4, 0})},
};

std::vector<std::vector<float>> random_logits(std::mt19937& random, size_t rows, float scale) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<std::vector<float>> logits(rows, std::vector<float>(pieces.size()));
  for (std::vector<float>& row : logits) {
    for (float& logit : row) {
      logit = normal(random);
    }
  }
  return logits;
}

MaskedLogits rows_of(const std::vector<std::vector<float>>& logits) {
  MaskedLogits rows{{}, static_cast<int64_t>(pieces.size())};
  for (const std::vector<float>& row : logits) {
    rows.rows.push_back(row.data());
  }
  return rows;
}

size_t masked_of(const PartialText& text) {
  return static_cast<size_t>(std::count(text.slots.begin(), text.slots.end(), PatternSlot::masked));
}

double log_weight(const Ids& filling, const std::vector<std::vector<float>>& logits) {
  double sum = 0;
  for (size_t i = 0; i < filling.size(); ++i) {
    sum += static_cast<double>(logits[i][static_cast<size_t>(filling[i])]);
  }
  return sum;
}

}  // namespace

TEST_CASE("Completions are drawn in proportion to their probability among those that match") {
  std::mt19937 random(7);
  for (const Case& one : cases) {
    for (const float scale : {0.5F, 3.0F, 400.0F}) {
      CAPTURE(one.pattern, scale);
      const Pcre2Engine engine(one.pattern);
      const size_t masked = masked_of(one.text);
      const auto logits = random_logits(random, masked, scale);
      std::map<Ids, double> weights;
      double largest = -1e300, total = 0;
      for (const Ids& filling : all_fillings(masked, static_cast<int64_t>(pieces.size()))) {
        if (matches(one, filling, engine)) {
          weights[filling] = log_weight(filling, logits);
          largest = std::max(largest, weights[filling]);
        }
      }
      REQUIRE(!weights.empty());
      for (auto& [filling, weight] : weights) {
        weight = std::exp(weight - largest);
        total += weight;
      }
      const auto automaton = compiled(one);
      constexpr int draws = 20000;
      std::uniform_real_distribution<float> uniform(0, 1);
      std::map<Ids, int> counts;
      for (int i = 0; i < draws; ++i) {
        std::vector<float> noise(masked);
        for (float& u : noise) {
          u = uniform(random);
        }
        const auto drawn = draw_completion(*automaton, one.text, rows_of(logits), noise.data());
        REQUIRE(drawn);
        ++counts[*drawn];
      }
      int found = 0;
      for (const auto& [filling, weight] : weights) {
        const double p = weight / total, n = draws;
        found += counts[filling];
        // Four standard errors; a count in twenty thousand that is expected to be below one may be three.
        CHECK(std::abs(counts[filling] - n * p) <= 4 * std::sqrt(n * p * (1 - p)) + 3);
      }
      CHECK(found == draws);  // so every one matches
    }
  }
}

TEST_CASE("The likeliest completion is the likeliest of all that match") {
  std::mt19937 random(8);
  for (const Case& one : cases) {
    CAPTURE(one.pattern);
    const Pcre2Engine engine(one.pattern);
    const size_t masked = masked_of(one.text);
    for (int i = 0; i < 20; ++i) {
      const auto logits = random_logits(random, masked, 2);
      double best = -1e300;
      for (const Ids& filling : all_fillings(masked, static_cast<int64_t>(pieces.size()))) {
        best = matches(one, filling, engine) ? std::max(best, log_weight(filling, logits)) : best;
      }
      const auto likeliest = likeliest_completion(*compiled(one), one.text, rows_of(logits));
      REQUIRE(likeliest);
      CHECK(matches(one, *likeliest, engine));
      CHECK(log_weight(*likeliest, logits) == Catch::Approx(best));
    }
  }
}

TEST_CASE("A pattern of everything draws each position by itself, as without one") {
  const Case one{"(.|\\n)*", text_of("###", {0, 0, 0})};
  const Ids allowed = {0, 1, 2, 5, 6};  // whole characters
  const std::vector<std::vector<float>> logits(3, {0, 1, 2, -INFINITY, -INFINITY, 1, 0});
  const auto drawn = [&](float u) {
    const std::vector<float> noise(3, u);
    return *draw_completion(*compiled(one, allowed), one.text, rows_of(logits), noise.data());
  };
  // exp(0), exp(1), exp(2), exp(1), exp(0) in the order of ids, of 14.82 in all.
  CHECK(drawn(0.06F) == Ids{0, 0, 0});
  CHECK(drawn(0.08F) == Ids{1, 1, 1});
  CHECK(drawn(0.26F) == Ids{2, 2, 2});
  CHECK(drawn(0.74F) == Ids{2, 2, 2});
  CHECK(drawn(0.76F) == Ids{5, 5, 5});
  CHECK(drawn(0.9999999F) == Ids{6, 6, 6});
}

TEST_CASE("Where every completion is excluded, there is none") {
  const Case one{"ab", text_of("##", {0, 0})};
  std::vector<std::vector<float>> logits(2, std::vector<float>(pieces.size(), 0));
  logits[1][1] = -INFINITY;
  const std::vector<float> noise(2, 0.5F);
  CHECK_FALSE(draw_completion(*compiled(one), one.text, rows_of(logits), noise.data()));
  CHECK_FALSE(likeliest_completion(*compiled(one), one.text, rows_of(logits)));
  logits[0].assign(pieces.size(), std::nanf(""));
  CHECK_FALSE(draw_completion(*compiled(one), one.text, rows_of(logits), noise.data()));
}

TEST_CASE("Long texts of improbable tokens are drawn as surely as short ones") {
  const size_t length = 2000;
  const Case one{"(ab?)*", text_of(std::string(length, '#'), Ids(length, 0))};
  // Each of these tokens has a share of exp(-200) of its position, and all together one of exp(-400000).
  const std::vector<std::vector<float>> logits(length, {-200, -200, -INFINITY, 0, 0, 0, 0});
  std::vector<float> noise(length, 0.5F);
  const auto drawn = draw_completion(*compiled(one), one.text, rows_of(logits), noise.data());
  REQUIRE(drawn);
  std::string text;
  for (const int64_t id : *drawn) {
    text += *pieces[static_cast<size_t>(id)];
  }
  CHECK(Pcre2Engine("(ab?)*+").matches(text));
}

TEST_CASE("Whether a text has a completion is known, and what contradicts it") {
  for (const Case& one : cases) {
    CAPTURE(one.pattern);
    CHECK(has_completion(*compiled(one), one.text));
  }
  const auto contradiction = [](const std::string& pattern, const PartialText& text) {
    const auto automaton = compiled({pattern, text});
    REQUIRE_FALSE(has_completion(*automaton, text));
    return first_contradiction(*automaton, Reachable(*automaton, static_cast<int64_t>(text.slots.size())), text);
  };
  CHECK(contradiction("[ab]{3}", text_of("#", {0})) == std::nullopt);
  CHECK(contradiction("a*", text_of("ggg", {0, 1, 0})) == 1);
  CHECK(contradiction("(ab)*", text_of("-###g", {1, 0, 0, 0, 0})) == 4);  // four characters, the last a b
  CHECK(contradiction("a(a|b)a", text_of("#g#", {0, 5, 0})) == 1);
}

TEST_CASE("A text with runs of open length has a completion where it has one with some lengths") {
  const std::string marks = "a####g##.";
  const Ids tokens = {0, 0, 0, 0, 0, 1, 0, 0, 0};
  int with = 0, without = 0;
  for (const std::string pattern :
       {"a{3,5}b.*", "ab*", "(ab)*a", "[ab]{6}", "[ab]{5}|b.{11}", "abba", "a{2}b{2}a{2}"}) {
    const auto automaton = compiled({pattern, {}});
    for (size_t least = 0; least <= 2; ++least) {
      for (size_t most = least; most <= 4; ++most) {
        bool some = false;
        for (size_t first = least; first <= most; ++first) {
          for (const size_t second : {size_t{1}, size_t{2}}) {
            std::string text = "a" + std::string(first, '#') + "g" + std::string(second, '#') + ".";
            Ids ids(text.size(), 0);
            ids[1 + first] = 1;
            some = some || has_completion(*automaton, text_of(text, ids));
          }
        }
        CAPTURE(pattern, least, most);
        CHECK(has_completion(*automaton, text_of(marks, tokens), {{1, 4, least, most}, {6, 2, 1, 2}}) == some);
        ++(some ? with : without);
      }
    }
  }
  CHECK(with > 10);
  CHECK(without > 10);
}

TEST_CASE("Lengths of the texts that match are the shortest and the longest") {
  const auto lengths = [](const std::string& pattern) { return match_lengths(*compiled({pattern, {}})); };
  CHECK(lengths("a{2,5}").shortest == 2);
  CHECK(lengths("a{2,5}").longest == 5);
  CHECK(lengths("(ab)*").longest == std::nullopt);
  CHECK(lengths("(ab)*").shortest == 0);
  CHECK(lengths("abab").shortest == 2);  // of the piece ab
  CHECK(lengths("abab").longest == 4);
  CHECK(lengths("z").shortest == std::nullopt);
  CHECK(lengths("(ab){100}").longest == 200);
}

TEST_CASE("How many tokens still lead to a match is known for any number of them") {
  const auto automaton = compiled({"(bbb)*|b{7}", {}});
  const Reachable reachable(*automaton, 1000);
  for (int64_t tokens = 0; tokens <= 1000; ++tokens) {
    CHECK(reachable.from(TokenAutomaton::start(), tokens) == (tokens % 3 == 0 || tokens == 7));
  }
}
