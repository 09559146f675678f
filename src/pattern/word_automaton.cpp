#include "pattern/word_automaton.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "pattern/nfa.h"
#include "pattern/state_table.h"
#include "pattern/word_graph.h"
#include "text/unicode.h"

namespace demask {
namespace {

bool is_ascii_letter(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

char to_capital(char byte) {
  return byte >= 'a' && byte <= 'z' ? static_cast<char>(byte - 'a' + 'A') : byte;
}

// The words as they stand, with a capital letter and in capitals, as far as these bytes spell them; sorted.
std::vector<std::string> with_capitals(const std::vector<std::string>& words, const ByteSet& usable) {
  std::vector<std::string> all;
  for (const std::string& word : words) {
    std::string with_capital = word, in_capitals = word;
    const auto first = std::find_if(with_capital.begin(), with_capital.end(), is_ascii_letter);
    if (first != with_capital.end()) {
      *first = to_capital(*first);
    }
    std::transform(word.begin(), word.end(), in_capitals.begin(), to_capital);
    for (const std::string& form : {word, with_capital, in_capitals}) {
      if (std::all_of(form.begin(), form.end(), [&](char byte) { return usable[static_cast<unsigned char>(byte)]; })) {
        all.push_back(form);
      }
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

// One character that is no letter.
ByteAutomaton separator_automaton(const std::vector<std::string>& words, const ByteSet& usable) {
  std::vector<PointRange> letters;
  for (uint32_t point = 0; point <= last_code_point; ++point) {
    if (is_letter(point)) {
      letters.push_back({point, point});
    }
  }
  for (const std::string& word : words) {
    for (const std::string_view character : characters_of(word)) {
      letters.push_back({decode_utf8(character), decode_utf8(character)});
    }
  }
  NfaBuilder builder;
  const NfaBuilder::Part part = builder.points(complement(normalized(std::move(letters))));
  return {std::move(builder).finish(part), usable};
}

class TextConstruction {
 public:
  TextConstruction(const WordGraph& graph, const ByteAutomaton& separators) : graph_(graph), separators_(separators) {}

  ByteAutomaton construct() {
    const std::array<int32_t, 256> class_of = number_classes();
    StateTable table;
    table.classes = static_cast<int32_t>(byte_of_class_.size());
    state_of(start());
    for (size_t state = 0; state < places_.size(); ++state) {
      const Place from = places_[state];
      table.accepts.push_back(static_cast<uint8_t>(from.separator == separators_start));
      for (const unsigned char byte : byte_of_class_) {
        table.next.push_back(state_of(after(from, byte)));
      }
    }
    return {class_of, std::move(table)};
  }

 private:
  static constexpr int32_t separators_start = 0, nowhere = -1;

  // Where a text is in the graph of words, in the automaton of separators, or in both: where a word may end, or within
  // a character of several bytes that may be a letter or none.
  struct Place {
    int32_t word = nowhere, separator = nowhere;
  };

  Place start() const { return {graph_.start(), separators_start}; }

  Place after(const Place& from, unsigned char byte) const {
    Place to;
    if (from.separator != nowhere) {
      to.separator = separators_.next_by_class(from.separator, separators_.class_of(byte));
      if (to.separator != nowhere && separators_.accepts(to.separator)) {
        return start();
      }
    }
    if (from.word != nowhere) {
      to.word = graph_.next(from.word, byte);
      if (to.word != nowhere && graph_.at(to.word).accepts) {
        to.separator = separators_start;
      }
    }
    return to;
  }

  int32_t state_of(const Place& place) {
    if (place.word == nowhere && place.separator == nowhere) {
      return ByteAutomaton::dead;
    }
    const uint64_t key =
        static_cast<uint64_t>(static_cast<uint32_t>(place.word)) << 32 | static_cast<uint32_t>(place.separator);
    const auto [found, added] = numbers_.emplace(key, static_cast<int32_t>(places_.size()));
    if (added) {
      check_joint_states(found->second + 1);
      places_.push_back(place);
    }
    return found->second;
  }

  // Bytes of words are classes of their own, others as separators have them.
  std::array<int32_t, 256> number_classes() {
    std::array<int32_t, 256> class_of = {};
    ByteSet of_words;
    for (int32_t state = 0; state < graph_.states(); ++state) {
      for (const auto& edge : graph_.at(state).next) {
        of_words.set(edge.first);
      }
    }
    std::map<std::pair<int32_t, int32_t>, int32_t> numbers;
    for (size_t byte = 0; byte < class_of.size(); ++byte) {
      const int32_t own = of_words[byte] ? static_cast<int32_t>(byte) : -1;
      const auto key = std::make_pair(own, separators_.class_of(static_cast<unsigned char>(byte)));
      const auto [found, added] = numbers.emplace(key, static_cast<int32_t>(byte_of_class_.size()));
      if (added) {
        byte_of_class_.push_back(static_cast<unsigned char>(byte));
      }
      class_of[byte] = found->second;
    }
    return class_of;
  }

  const WordGraph& graph_;
  const ByteAutomaton& separators_;
  std::vector<unsigned char> byte_of_class_;  // an example
  std::vector<Place> places_;                 // by state
  std::unordered_map<uint64_t, int32_t> numbers_;
};

}  // namespace

ByteAutomaton word_automaton(const std::vector<std::string>& words, const ByteSet& usable) {
  const WordGraph graph(with_capitals(words, usable));
  return TextConstruction(graph, separator_automaton(words, usable)).construct();
}

}  // namespace demask
