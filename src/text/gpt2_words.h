// The words that GPT-2's own pattern takes, found without a regular expression where they are ASCII.
#pragma once

#include <cstddef>
#include <string_view>

namespace demask {

// openai/gpt-2, src/encoder.py.
inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Where the word that begins at `start` ends; 0 where a character that is not ASCII may have a say in it.
size_t gpt2_word_end(std::string_view text, size_t start);

}  // namespace demask
