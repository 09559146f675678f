// Any bytes as a pattern: they are refused or become an automaton over a small vocabulary, from which a completion that
// is drawn is one that matches; and so beside a list of words.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "demask/error.h"
#include "pattern/completions.h"
#include "pattern/pattern_parser.h"
#include "pattern/word_automaton.h"
#include "text/character_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace demask;
  const std::string_view pattern(reinterpret_cast<const char*>(data), size);
  static const CharacterVocabulary vocabulary({"a", "b", "ab", "\xC3", "\xA9", "1", "\n", "-"});
  static const std::vector<int64_t> allowed = {0, 1, 2, 3, 4, 5, 6, 7};
  static const ByteAutomaton list = word_automaton({"a", "ab", "b1", "\xC3\xA9"}, ByteSet{}.set());
  constexpr size_t length = 6;
  const PartialText text{std::vector<PatternSlot>(length, PatternSlot::masked), std::vector<int64_t>(length)};
  const std::vector<float> row(allowed.size(), 0), uniforms(length, 0.4F);
  const MaskedLogits logits{std::vector<const float*>(length, row.data()), static_cast<int64_t>(row.size())};
  try {
    for (const bool with_words : {false, true}) {
      const auto automaton = compile_rule({pattern, with_words ? &list : nullptr}, vocabulary, allowed, std::nullopt);
      const auto drawn = draw_completion(*automaton, text, logits, uniforms.data());
      if (drawn.has_value() != has_completion(*automaton, text)) {
        std::abort();
      }
      const std::string shown = drawn ? vocabulary.bytes(*drawn) : "";
      if (drawn && (!ByteAutomaton(parse_pattern(pattern), ByteSet{}.set()).matches(shown) ||
                    (with_words && !list.matches(shown)))) {
        std::abort();
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
