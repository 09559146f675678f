// Tokens that stand in texts as they are and are found before anything else: those that a tokenizer lists as added.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool special = false;      // text only where special tokens are not parsed
  bool single_word = false;  // not where a letter, mark, digit or connector is right beside it
  bool lstrip = false;       // takes the spaces before it
  bool rstrip = false;       // takes the spaces after it
  bool normalized = false;   // found in the normalised text, normalised itself
};

// Finds tokens of a list in texts: of those that begin first the longest, as the tokenizers library does.
class AddedTokenFinder {
 public:
  // Tokens with empty contents are left out; of equal ones the first counts. `tokens` must outlive this object.
  explicit AddedTokenFinder(const std::vector<AddedToken>& tokens);

  struct Part {
    std::string_view text;
    const AddedToken* token = nullptr;  // nullptr: text between tokens
  };
  // All of `text`, which is UTF-8, in parts and in order. Special tokens are tokens only with `parse_special`. Without
  // it their text is text, but is not searched for other tokens.
  std::vector<Part> split(std::string_view text, bool parse_special) const;

 private:
  // The longest token that `text` begins with; nullptr where there is none.
  const AddedToken* longest(std::string_view text) const;

  struct Range {
    size_t begin = 0, end = 0;
  };
  std::vector<const AddedToken*> sorted_;  // by content
  std::array<Range, 256> by_first_byte_{};
};

}  // namespace demask
