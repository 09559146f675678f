// The alphabet in which files of byte-level BPE write bytes: a printable character for each of the 256, as GPT-2's
// bytes_to_unicode (openai/gpt-2, src/encoder.py) has it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace demask {

// The bytes in the order of GPT-2's first 256 tokens: those that stand for themselves, then the others.
std::array<unsigned char, 256> bytes_in_gpt2_order();

// The bytes that `letters`, which is UTF-8, stand for; nothing where a character is not in the alphabet.
std::optional<std::string> bytes_of_letters(std::string_view letters);

}  // namespace demask
