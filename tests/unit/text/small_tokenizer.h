// A tokenizer.json small enough to read: the 256 bytes by their value, then what a test gives it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "core/utf8.h"
#include "text/byte_letters.h"

namespace demask::testing {

// The letter that files write for a byte.
inline std::string byte_letter(unsigned char byte) {
  for (uint32_t point = 0; point < 0x144; ++point) {
    const std::string letter = encode_utf8(point);
    if (const auto bytes = bytes_of_letters(letter); bytes && static_cast<unsigned char>(bytes->front()) == byte) {
      return letter;
    }
  }
  return {};
}

// "ab" is 256, "abc" 257; a text is cut into GPT-2's words.
inline nlohmann::json small_tokenizer() {
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[byte_letter(static_cast<unsigned char>(byte))] = byte;
  }
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  const nlohmann::json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return {{"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"decoder", byte_level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}}};
}

inline nlohmann::json added_token(int id, const std::string& content) {
  return {{"id", id},        {"content", content},   {"special", false},   {"lstrip", false},
          {"rstrip", false}, {"single_word", false}, {"normalized", false}};
}

}  // namespace demask::testing
