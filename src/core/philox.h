// Philox4x32-10, a counter-based random generator: every output is a pure function of (counter, key).
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>

namespace demask::philox {

using Counter = std::array<uint32_t, 4>;
using Key = std::array<uint32_t, 2>;

inline constexpr uint32_t multiplier_0 = 0xD2511F53;
inline constexpr uint32_t multiplier_1 = 0xCD9E8D57;
inline constexpr uint32_t weyl_0 = 0x9E3779B9;  // golden ratio
inline constexpr uint32_t weyl_1 = 0xBB67AE85;  // sqrt(3) - 1
inline constexpr int rounds = 10;

constexpr Counter generate(Counter counter, Key key) {
  for (int round = 0; round < rounds; ++round) {
    const uint64_t product_0 = uint64_t{multiplier_0} * counter[0];
    const uint64_t product_1 = uint64_t{multiplier_1} * counter[2];
    counter = {static_cast<uint32_t>(product_1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product_1),
               static_cast<uint32_t>(product_0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product_0)};
    key = {key[0] + weyl_0, key[1] + weyl_1};
  }
  return counter;
}

// Uniform in (0, 1) with 23 random bits: the middle of one of 2^23 equal intervals, exact in float32, so never 0 and
// never 1.
constexpr float to_uniform(uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5F) * 0x1p-23F;
}

}  // namespace demask::philox
