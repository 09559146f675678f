// How a text is cut into words before byte-pair encoding, as the tokenizers library's Split, Digits and ByteLevel do.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_regex.h"

namespace demask {

// What becomes of the matches of a Split's pattern.
enum class SplitBehavior : uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct PreTokenizerStep {
  enum class Kind : uint8_t { split, space_in_front } kind = Kind::split;
  // Of a split.
  std::vector<TokenizerRegex> pattern;  // one
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;         // what the pattern does not match counts as matched, and the other way round
  bool is_gpt2_words = false;  // the pattern is gpt2_pattern, and matches are isolated
};

// Takes the words of a text, in order.
class WordSink {
 public:
  virtual ~WordSink() = default;
  // A word is not empty, and stays where it is as long as the text and the PreTokenizer.
  virtual void take(std::string_view word) = 0;
};

// Cuts texts; for one thread and one text after the other.
class PreTokenizer {
 public:
  // `steps` must outlive this object.
  explicit PreTokenizer(const std::vector<PreTokenizerStep>& steps);
  // Each step cuts what the step before it left. Throws as Matcher::find.
  void cut(std::string_view text, WordSink& sink);

 private:
  void run(size_t step, std::string_view text, WordSink& sink);
  void split(size_t step, std::string_view text, WordSink& sink);

  const std::vector<PreTokenizerStep>& steps_;
  std::vector<std::vector<Matcher>> matchers_;  // one for each step that is a split
  std::deque<std::string> changed_;             // texts that got a space in front
};

}  // namespace demask
