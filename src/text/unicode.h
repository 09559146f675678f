// What Unicode says about characters, and its composed normal form, by utf8proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace demask {

// Normalization Form C (Unicode Standard Annex 15) of a UTF-8 text, in at most n log n.
std::string to_nfc(std::string_view text);

// True where `text` has no character that normalisation could change: all below U+0300.
bool is_surely_nfc(std::string_view text);

// The property White_Space.
bool is_white_space(uint32_t point);

// General categories L and M: letters, and the marks that combine with them.
bool is_letter(uint32_t point);

// What \w matches by Unicode Technical Standard 18: Alphabetic, marks, decimal numbers, connectors and joiners.
bool is_word_character(uint32_t point);

}  // namespace demask
