#include "text/byte_letters.h"

#include "core/utf8.h"

namespace demask {
namespace {

constexpr uint32_t first_other = 0x100;  // the bytes that do not stand for themselves are U+0100 and on
constexpr size_t letters_end = 0x144;

bool stands_for_itself(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The byte of each letter; -1 for what is no letter.
std::array<int16_t, letters_end> byte_table() {
  std::array<int16_t, letters_end> table{};
  table.fill(-1);
  uint32_t next = first_other;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    table[stands_for_itself(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

}  // namespace

std::array<unsigned char, 256> bytes_in_gpt2_order() {
  std::array<unsigned char, 256> bytes{};
  size_t count = 0;
  for (const bool own : {true, false}) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      if (stands_for_itself(byte) == own) {
        bytes[count++] = static_cast<unsigned char>(byte);
      }
    }
  }
  return bytes;
}

std::optional<std::string> bytes_of_letters(std::string_view letters) {
  static const std::array<int16_t, letters_end> table = byte_table();
  std::string bytes;
  bytes.reserve(letters.size());
  for (size_t i = 0; i < letters.size();) {
    uint32_t point = static_cast<unsigned char>(letters[i]);
    size_t length = 1;
    if (point >= 0x80) {
      length = utf8_length(letters.substr(i));
      point = decode_utf8(letters.substr(i, length));
    }
    if (length == 0 || point >= letters_end || table[point] < 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(table[point]);
    i += length;
  }
  return bytes;
}

}  // namespace demask
