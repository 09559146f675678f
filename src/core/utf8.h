// UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

inline constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
inline constexpr uint32_t last_code_point = 0x10FFFF;
inline constexpr uint32_t replacement_character = 0xFFFD;

// Bytes of the character at the start of `text`, 1 to 4; 0 where there is none.
size_t utf8_length(std::string_view text);

// Bytes of the character at the start of `text`, or where there is none of the longest start of one, which is cut short
// (a maximal subpart: Unicode 15, section 3.9); 1 for a byte that begins none, 0 where there is no text.
size_t utf8_part_length(std::string_view text);

// How many bytes come before the first that is not UTF-8; all of them where it is.
size_t valid_utf8_bytes(std::string_view text);

bool is_utf8(std::string_view text);

// True for one code point, no more and no less.
bool is_one_character(std::string_view text);

// The code point at the start of `text`; U+FFFD where there is none.
uint32_t decode_utf8(std::string_view text);

// `point` is a code point other than a surrogate.
std::string encode_utf8(uint32_t point);

// The characters of `text`, each as its bytes; a byte that belongs to none stands alone.
std::vector<std::string_view> characters_of(std::string_view text);

// `text` with U+FFFD for what is not UTF-8, one for each maximal subpart of a character (Unicode 15, section 3.9,
// U+FFFD substitution), as Python's bytes.decode('utf-8', 'replace') and browsers do.
std::string repair_utf8(std::string text);

}  // namespace demask
