#include "text/gpt2_words.h"

#include <array>

namespace demask {
namespace {

enum class Class : unsigned char { letter, digit, space, other, beyond_ascii };

constexpr std::array<Class, 256> class_table() {
  std::array<Class, 256> table{};
  for (size_t byte = 0; byte < table.size(); ++byte) {
    const bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    const bool is_space = (byte >= '\t' && byte <= '\r') || byte == ' ';
    table[byte] = byte >= 0x80                 ? Class::beyond_ascii
                  : is_letter                  ? Class::letter
                  : byte >= '0' && byte <= '9' ? Class::digit
                  : is_space                   ? Class::space
                                               : Class::other;
  }
  return table;
}

constexpr std::array<Class, 256> classes = class_table();

Class class_at(std::string_view text, size_t at) {
  return classes[static_cast<unsigned char>(text[at])];
}

// Bytes of 's, 't, 're, 've, 'm, 'll or 'd at `at`, 0 where there is none.
size_t contraction(std::string_view text, size_t at) {
  if (text[at] != '\'' || at + 1 == text.size()) {
    return 0;
  }
  const char first = text[at + 1];
  const char second = at + 2 < text.size() ? text[at + 2] : '\0';
  if (first == 's' || first == 't' || first == 'm' || first == 'd') {
    return 2;
  }
  return ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

// Spaces but for the last where a word follows them, which takes that one.
size_t spaces_end(std::string_view text, size_t start) {
  size_t end = start;
  while (end < text.size() && class_at(text, end) == Class::space) {
    ++end;
  }
  if (end == text.size()) {
    return end;
  }
  if (class_at(text, end) == Class::beyond_ascii) {
    return 0;
  }
  return end - start > 1 ? end - 1 : end;
}

}  // namespace

size_t gpt2_word_end(std::string_view text, size_t start) {
  if (const size_t length = contraction(text, start)) {
    return start + length;
  }
  size_t end = start;
  if (text[start] == ' ' && start + 1 < text.size()) {
    ++end;
  }
  const Class kind = class_at(text, end);
  if (kind == Class::beyond_ascii) {
    return 0;
  }
  if (kind == Class::space) {
    return spaces_end(text, start);
  }
  Class next = kind;
  do {
    ++end;
    next = end < text.size() ? class_at(text, end) : Class::space;
  } while (next == kind);
  return next == Class::beyond_ascii ? 0 : end;
}

}  // namespace demask
