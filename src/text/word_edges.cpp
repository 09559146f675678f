#include "text/word_edges.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/utf8.h"
#include "text/unicode.h"

namespace demask {
namespace {

struct Script {
  uint32_t first, last;
};

// Letters of scripts that put no space between words: a run of them is a sentence.
constexpr std::array<Script, 9> without_spaces = {{{0x0E00, 0x0EFF},      // Thai, Lao
                                                   {0x0F00, 0x0FFF},      // Tibetan
                                                   {0x1000, 0x109F},      // Myanmar
                                                   {0x1780, 0x17FF},      // Khmer
                                                   {0x1950, 0x1AAF},      // Tai Le to Tai Tham
                                                   {0x3000, 0x31FF},      // kana, bopomofo
                                                   {0x3400, 0x9FFF},      // ideographs
                                                   {0xF900, 0xFAFF},      // compatibility ideographs
                                                   {0x20000, 0x3FFFF}}};  // further ideographs

bool is_letter_of_word(uint32_t point) {
  return is_letter(point) && std::none_of(without_spaces.begin(), without_spaces.end(), [point](const Script& script) {
           return point >= script.first && point <= script.last;
         });
}

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80;
}

bool begins_with_letter(std::string_view text) {
  return utf8_length(text) > 0 && is_letter_of_word(decode_utf8(text));
}

}  // namespace

bool begins_within_word(std::string_view piece) {
  if (piece.empty()) {
    return false;
  }
  return continues_character(piece.front()) || begins_with_letter(piece) ||
         (piece.front() == '\'' && begins_with_letter(piece.substr(1)));
}

bool ends_within_word(std::string_view piece) {
  if (piece.empty()) {
    return false;
  }
  size_t last = piece.size() - 1;  // where the last character begins
  while (last > 0 && continues_character(piece[last])) {
    --last;
  }
  const std::string_view end = piece.substr(last);
  const bool is_cut = static_cast<unsigned char>(end.front()) >= 0x80 && utf8_length(end) != end.size();
  return is_cut || begins_with_letter(end);
}

}  // namespace demask
