// Hashes for the tables of the tokenizer. They differ from process to process, so that no file can be made whose
// entries all meet in one place.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>

namespace demask {

inline uint64_t hash_seed() {
  static const uint64_t seed = [] {
    std::random_device entropy;
    return uint64_t{entropy()} << 32 ^ entropy();
  }();
  return seed;
}

// Folds the 128 bits of a product, which mixes every bit of both.
inline uint64_t mix(uint64_t left, uint64_t right) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(left) * right;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_of(uint64_t value, uint64_t seed) {
  return mix(value ^ seed, 0x9E3779B97F4A7C15U ^ (seed << 1 | 1));
}

inline uint64_t hash_of(std::string_view bytes, uint64_t seed) {
  uint64_t hash = seed ^ bytes.size();
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t word = 0;
  for (; left > 8; left -= 8, at += 8) {
    std::memcpy(&word, at, 8);
    hash = mix(hash ^ word, 0x9E3779B97F4A7C15U);
  }
  word = 0;
  std::memcpy(&word, at, left);
  return mix(hash ^ word, 0xD6E8FEB86659FD93U ^ (seed << 1 | 1));
}

}  // namespace demask
