// Sets of code points, and the sequences of byte sets that are their UTF-8.
#pragma once

#include <bitset>
#include <cstdint>
#include <vector>

namespace demask {

using ByteSet = std::bitset<256>;

// Code points from `low` to `high`, both included.
struct PointRange {
  uint32_t low = 0;
  uint32_t high = 0;
};

// In order, apart from each other, without surrogates.
std::vector<PointRange> normalized(std::vector<PointRange> ranges);

// Every code point that is in none of the normalized ranges.
std::vector<PointRange> complement(const std::vector<PointRange>& ranges);

// The UTF-8 of normalized ranges: a byte of the first set, then one of the second, and so on. No two sequences have a
// text in common.
std::vector<std::vector<ByteSet>> utf8_sequences(const std::vector<PointRange>& ranges);

}  // namespace demask
