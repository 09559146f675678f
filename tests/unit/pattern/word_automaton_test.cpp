#include "pattern/word_automaton.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"
#include "pattern/completions.h"
#include "pattern/pattern_parser.h"
#include "pattern/token_automaton.h"
#include "pattern/word_graph.h"
#include "pattern/word_list.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "text/character_vocabulary.h"

using namespace demask;
using Catch::Matchers::ContainsSubstring;

namespace word_automaton_test {
namespace {

ByteSet all_bytes() {
  return ByteSet{}.set();
}

// Every text of at most `most` of these characters, read by cutting it at what is no letter, against the automaton.
void check_by_cutting(const std::vector<std::string>& words, const std::vector<std::string>& letters,
                      const std::vector<std::string>& separators, const std::set<std::string>& forms, size_t most) {
  const ByteAutomaton automaton = word_automaton(words, all_bytes());
  std::vector<std::pair<std::string, bool>> characters;
  for (const std::string& letter : letters) {
    characters.emplace_back(letter, true);
  }
  for (const std::string& separator : separators) {
    characters.emplace_back(separator, false);
  }
  struct Text {
    std::string bytes, word;  // word: the letters at its end
    bool good = true;         // of what comes before
  };
  std::vector<Text> texts = {{}};
  for (size_t i = 0; i < texts.size(); ++i) {
    const Text text = texts[i];
    CAPTURE(text.bytes);
    REQUIRE(automaton.matches(text.bytes) == (text.good && (text.word.empty() || forms.count(text.word) != 0)));
    if (characters_of(text.bytes).size() == most) {
      continue;
    }
    for (const auto& [character, is_letter] : characters) {
      const bool good = text.good && (is_letter || text.word.empty() || forms.count(text.word) != 0);
      texts.push_back({text.bytes + character, is_letter ? text.word + character : "", good});
    }
  }
}

std::vector<std::string> list_of(const std::string& content) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "words.txt";
  testing::write_file(path, content);
  return read_word_list(path);
}

// Half of the words of at most six of the letters a, b and c.
std::vector<std::string> half_of_short_words(std::mt19937& random) {
  std::vector<std::string> words = {"a", "b", "c"};
  for (size_t i = 0; i < words.size(); ++i) {
    for (const std::string letter : {"a", "b", "c"}) {
      if (words[i].size() < 6) {
        words.push_back(words[i] + letter);
      }
    }
  }
  std::shuffle(words.begin(), words.end(), random);
  words.resize(words.size() / 2);
  std::sort(words.begin(), words.end());
  return words;
}

}  // namespace

TEST_CASE("Every run of letters is a word, as it stands, with a capital or in capitals") {
  check_by_cutting({"a", "ab", "'b"}, {"a", "b", "A", "B", "'"}, {" ", "-", "1"},
                   {"a", "A", "ab", "Ab", "AB", "'b", "'B"}, 5);
}

TEST_CASE("Letters are those of every script, and what words have besides") {
  // é and × begin with the same byte; a letter that no word has is none of what stands between words.
  check_by_cutting({"é", "éa-é"}, {"é", "a", "ê", "-"}, {"×", " ", "€"}, {"é", "éa-é", "éA-é", "éA-é"}, 5);
}

TEST_CASE("A graph of words has no more states than the words need") {
  // As many states as the words have different remainders, which is what minimal means (Myhill and Nerode).
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    std::set<std::string> words;
    for (int i = 0; i < 40; ++i) {
      std::string word;
      for (size_t letters = 1 + random() % 6; letters > 0; --letters) {
        word += static_cast<char>('a' + random() % 3);
      }
      words.insert(word);
    }
    std::set<std::set<std::string>> remainders;
    for (const std::string& word : words) {
      for (size_t length = 0; length <= word.size(); ++length) {
        std::set<std::string> own;
        for (const std::string& other : words) {
          if (other.compare(0, length, word, 0, length) == 0 && other.size() >= length) {
            own.insert(other.substr(length));
          }
        }
        remainders.insert(own);
      }
    }
    const WordGraph graph({words.begin(), words.end()});
    CHECK(graph.states() == static_cast<int32_t>(remainders.size()));
    for (const std::string& word : words) {
      int32_t state = graph.start();
      for (const char byte : word) {
        state = graph.next(state, static_cast<unsigned char>(byte));
        REQUIRE(state >= 0);
      }
      CHECK(graph.at(state).accepts);
    }
  }
}

TEST_CASE("A list and a pattern together have the texts of both") {
  const std::vector<std::string> words = {"be", "not", "or", "to"};
  const ByteAutomaton list = word_automaton(words, all_bytes()),
                      pattern(parse_pattern("[^n]{2,5} (not|nor|be)?"), all_bytes());
  const ByteAutomaton both = ByteAutomaton::intersection(list, pattern);
  int matching = 0;
  for (const std::string beginning : {"to", "be or", "toto", "to-be", "or or", "no"}) {
    for (const std::string end : {" not", " nor", " be", " ", ""}) {
      const std::string text = beginning + end;
      CAPTURE(text);
      CHECK(both.matches(text) == (list.matches(text) && pattern.matches(text)));
      matching += both.matches(text);
    }
  }
  CHECK(matching == 12);  // the four beginnings of words, before not, be and nothing
  CHECK(ByteAutomaton::intersection(list, ByteAutomaton(parse_pattern("nor"), all_bytes())).states() == 1);
}

TEST_CASE("Texts of words are drawn in proportion to their probability among those that match") {
  // So many words that states from which a separator leads to the start are a group.
  std::mt19937 random(5);
  const std::vector<std::string> words = half_of_short_words(random);
  const std::vector<std::optional<std::string>> pieces = {"a", "bc", " ", " a", ". b", "c "};
  const CharacterVocabulary vocabulary(pieces);
  const ByteAutomaton list = word_automaton(words, all_bytes());
  const auto automaton = compile_rule({std::nullopt, &list}, vocabulary, {0, 1, 2, 3, 4, 5}, std::nullopt);
  REQUIRE(automaton->groups() > 0);

  constexpr size_t length = 4;
  const PartialText text{std::vector<PatternSlot>(length, PatternSlot::masked), std::vector<int64_t>(length)};
  std::normal_distribution<float> normal(0, 1);
  for (const float offset : {0.0F, -1000.0F}) {  // far below the rest, so that logarithms are taken
    std::vector<std::vector<float>> logits(length, std::vector<float>(pieces.size()));
    MaskedLogits rows{{}, vocabulary.size()};
    for (std::vector<float>& row : logits) {
      std::generate(row.begin(), row.end(), [&] { return normal(random); });
      row[4] += offset;
      rows.rows.push_back(row.data());
    }
    std::map<std::vector<int64_t>, double> weights;
    double total = 0, largest = 0;
    for (int64_t number = 0; number < 6 * 6 * 6 * 6; ++number) {
      const std::vector<int64_t> ids = {number % 6, number / 6 % 6, number / 36 % 6, number / 216};
      if (list.matches(vocabulary.bytes(ids))) {
        double sum = 0;
        for (size_t i = 0; i < length; ++i) {
          sum += static_cast<double>(logits[i][static_cast<size_t>(ids[i])]);
        }
        total += weights[ids] = std::exp(sum);
        largest = std::max(largest, weights[ids]);
      }
    }
    REQUIRE(weights.size() > 100);
    std::map<std::vector<int64_t>, double> counts;
    constexpr double draws = 20000;
    std::uniform_real_distribution<float> uniform(0, 1);
    for (int i = 0; i < static_cast<int>(draws); ++i) {
      const std::vector<float> noise = {uniform(random), uniform(random), uniform(random), uniform(random)};
      ++counts[draw_completion(*automaton, text, rows, noise.data()).value()];
    }
    double found = 0;
    for (const auto& [ids, weight] : weights) {
      const double p = weight / total;
      found += counts[ids];
      // Four standard errors; a count that is expected to be below one may be three.
      CHECK(std::abs(counts[ids] - draws * p) <= 4 * std::sqrt(draws * p * (1 - p)) + 3);
    }
    CHECK(found == draws);
    CHECK(weights[likeliest_completion(*automaton, text, rows).value()] == Catch::Approx(largest));
  }
}

TEST_CASE("Twelve thousand words fit, by characters, and a text of them is drawn whose words are all of the list") {
  const std::vector<std::string> words = read_word_list(DEMASK_SOURCE_DIR "/bench/quality/data/words.txt");
  REQUIRE(words.size() == 12631);
  std::vector<std::optional<std::string>> characters = {"\n", " ", ".", ",", "'"};
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    characters.emplace_back(std::string(1, letter));
  }
  const CharacterVocabulary vocabulary(characters);
  std::vector<int64_t> allowed;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    allowed.push_back(id);
  }
  const ByteAutomaton list = word_automaton(words, spelling_bytes(vocabulary));
  const auto automaton = compile_rule({std::nullopt, &list}, vocabulary, allowed, std::nullopt);
  // A graph that is minimal has one state for each different set of ends; the start is its own, for separators.
  CHECK(automaton->states() < 8000);

  constexpr size_t length = 200;
  const PartialText text{std::vector<PatternSlot>(length, PatternSlot::masked), std::vector<int64_t>(length)};
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 2);
  std::vector<std::vector<float>> logits(length, std::vector<float>(allowed.size()));
  MaskedLogits rows{{}, vocabulary.size()};
  std::vector<float> uniforms;
  for (std::vector<float>& row : logits) {
    std::generate(row.begin(), row.end(), [&] { return normal(random); });
    rows.rows.push_back(row.data());
    uniforms.push_back(std::uniform_real_distribution<float>(0, 1)(random));
  }
  for (const auto& ids :
       {draw_completion(*automaton, text, rows, uniforms.data()), likeliest_completion(*automaton, text, rows)}) {
    REQUIRE(ids);
    std::string word;
    for (const char byte : vocabulary.bytes(*ids) + " ") {
      if (byte == '\'' || (byte >= 'a' && byte <= 'z')) {
        word += byte;
      } else if (const std::string whole = std::exchange(word, ""); !whole.empty()) {
        CAPTURE(whole);
        CHECK(std::binary_search(words.begin(), words.end(), whole));
      }
    }
  }
}

TEST_CASE("A list of words has no empty lines, and one that cannot be read is refused with file and line") {
  CHECK(list_of("\xEF\xBB\xBFto\r\n\nbe\nto") == std::vector<std::string>{"be", "to"});
  const auto refusal = [](const std::string& content) { return testing::bad_input_message([&] { list_of(content); }); };
  CHECK_THAT(refusal("to\nbe or\n"), ContainsSubstring("line 2: white space in a word, 'be or'"));
  CHECK_THAT(refusal("to\n\nb\xFF\n"), ContainsSubstring("line 3: not UTF-8"));
  CHECK_THAT(refusal(std::string(257, 'a')), ContainsSubstring("line 1: 257 bytes, and a word has at most 256"));
  CHECK_THAT(refusal("\n\n"), ContainsSubstring("has no word"));
  CHECK_THAT(refusal(""), ContainsSubstring("empty"));
  CHECK_THAT(refusal(std::string((1 << 24) + 1, 'a')), ContainsSubstring("16777216"));
  CHECK_THAT(testing::bad_input_message([] { read_word_list("/no/such/words"); }), ContainsSubstring("/no/such/words"));
}

}  // namespace word_automaton_test
