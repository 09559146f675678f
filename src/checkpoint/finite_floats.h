// Whether float32 numbers are finite, told from their bits.
#pragma once

#include <cstdint>

namespace demask {

// Bits of magnitudes in float32. What is not below the second becomes infinite when it is rounded to bfloat16.
inline constexpr uint32_t infinity_bits = 0x7F800000, infinite_in_bfloat16_bits = 0x7F7F8000;

// Whether all magnitudes are below that of the bits `limit`, of which NaN is none. In vectors, for every weight of a
// model is looked at before its first token is drawn.
bool are_below(const float* numbers, int64_t count, uint32_t limit);

}  // namespace demask
