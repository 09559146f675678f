#include "core/utf8.h"

#include <algorithm>

namespace demask {

size_t utf8_length(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0U) == 0x80; };
  if (text.empty()) {
    return 0;
  }
  const unsigned char first = byte(0);
  if (first < 0x80) {
    return 1;
  }
  if (first < 0xC2 || first > 0xF4 || !continues(1)) {
    return 0;
  }
  if (first < 0xE0) {
    return 2;
  }
  const unsigned char second = byte(1);
  if (!continues(2) || (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) {
    return 0;
  }
  if (first < 0xF0) {
    return 3;
  }
  const bool in_range = (first != 0xF0 || second >= 0x90) && (first != 0xF4 || second <= 0x8F);
  return continues(3) && in_range ? 4 : 0;
}

size_t utf8_part_length(std::string_view text) {
  if (const size_t whole = utf8_length(text)) {
    return whole;
  }
  // A start can be completed if and only if it can be by one of these: the smallest and largest continuation bytes.
  for (size_t length = std::min(text.size(), size_t{3}); length > 1; --length) {
    for (const char next : {'\x80', '\xBF'}) {
      std::string completed(text.substr(0, length));
      completed.append(4 - length, next);
      if (utf8_length(completed) > length) {
        return length;
      }
    }
  }
  return std::min(text.size(), size_t{1});
}

size_t valid_utf8_bytes(std::string_view text) {
  size_t valid = 0;
  while (const size_t length = utf8_length(text.substr(valid))) {
    valid += length;
  }
  return valid;
}

bool is_utf8(std::string_view text) {
  return valid_utf8_bytes(text) == text.size();
}

bool is_one_character(std::string_view text) {
  return !text.empty() && utf8_length(text) == text.size();
}

uint32_t decode_utf8(std::string_view text) {
  const size_t length = utf8_length(text);
  if (length == 0) {
    return replacement_character;
  }
  const auto first = static_cast<unsigned char>(text.front());
  uint32_t point = length == 1 ? first : first & (0xFFU >> (length + 1));
  for (const char next : text.substr(1, length - 1)) {
    point = point << 6 | (static_cast<unsigned char>(next) & 0x3FU);
  }
  return point;
}

std::string encode_utf8(uint32_t point) {
  const auto byte = [](uint32_t bits) { return static_cast<char>(bits); };
  const auto continued = [&](int shift) { return byte(0x80U | (point >> shift & 0x3FU)); };
  if (point < 0x80) {
    return {byte(point)};
  }
  if (point < 0x800) {
    return {byte(0xC0U | point >> 6), continued(0)};
  }
  if (point < 0x10000) {
    return {byte(0xE0U | point >> 12), continued(6), continued(0)};
  }
  return {byte(0xF0U | point >> 18), continued(12), continued(6), continued(0)};
}

std::vector<std::string_view> characters_of(std::string_view text) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    characters.push_back(text.substr(0, std::max(utf8_length(text), size_t{1})));
    text.remove_prefix(characters.back().size());
  }
  return characters;
}

std::string repair_utf8(std::string text) {
  size_t valid = valid_utf8_bytes(text);
  if (valid == text.size()) {
    return text;
  }
  const std::string replacement = encode_utf8(replacement_character);
  std::string repaired;
  std::string_view rest = text;
  while (true) {
    repaired += rest.substr(0, valid);
    rest.remove_prefix(valid);
    if (rest.empty()) {
      return repaired;
    }
    repaired += replacement;
    rest.remove_prefix(utf8_part_length(rest));
    valid = valid_utf8_bytes(rest);
  }
}

}  // namespace demask
