#include "pattern/byte_sets.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/utf8.h"

namespace demask {
namespace {

constexpr uint32_t first_surrogate = 0xD800, last_surrogate = 0xDFFF;
constexpr uint32_t continuation_bits = 6;

ByteSet bytes_between(uint8_t low, uint8_t high) {
  ByteSet set;
  for (size_t byte = low; byte <= high; ++byte) {
    set.set(byte);
  }
  return set;
}

// Appends the UTF-8 of low .. high, which have the same number of bytes. A range whose ends differ in a byte before the
// last is cut until all bytes after it run from their lowest to their highest.
void append_sequences(uint32_t low, uint32_t high, std::vector<std::vector<ByteSet>>& out) {
  const std::string first = encode_utf8(low), last = encode_utf8(high);
  for (uint32_t tail = 1; tail < first.size(); ++tail) {
    const uint32_t mask = (uint32_t{1} << (continuation_bits * tail)) - 1;
    if ((low & ~mask) == (high & ~mask)) {
      continue;
    }
    if ((low & mask) != 0) {
      append_sequences(low, low | mask, out);
      append_sequences((low | mask) + 1, high, out);
      return;
    }
    if ((high & mask) != mask) {
      append_sequences(low, (high & ~mask) - 1, out);
      append_sequences(high & ~mask, high, out);
      return;
    }
  }
  std::vector<ByteSet> sequence;
  for (size_t i = 0; i < first.size(); ++i) {
    sequence.push_back(bytes_between(static_cast<uint8_t>(first[i]), static_cast<uint8_t>(last[i])));
  }
  out.push_back(std::move(sequence));
}

}  // namespace

std::vector<PointRange> normalized(std::vector<PointRange> ranges) {
  std::vector<PointRange> pieces;
  for (const PointRange& range : ranges) {
    if (range.low < first_surrogate) {
      pieces.push_back({range.low, std::min(range.high, first_surrogate - 1)});
    }
    if (range.high > last_surrogate) {
      pieces.push_back({std::max(range.low, last_surrogate + 1), range.high});
    }
  }
  std::sort(pieces.begin(), pieces.end(),
            [](const PointRange& left, const PointRange& right) { return left.low < right.low; });
  std::vector<PointRange> merged;
  for (const PointRange& piece : pieces) {
    if (!merged.empty() && piece.low <= merged.back().high + 1) {
      merged.back().high = std::max(merged.back().high, piece.high);
    } else {
      merged.push_back(piece);
    }
  }
  return merged;
}

std::vector<PointRange> complement(const std::vector<PointRange>& ranges) {
  std::vector<PointRange> gaps;
  uint32_t next = 0;
  for (const PointRange& range : ranges) {
    if (range.low > next) {
      gaps.push_back({next, range.low - 1});
    }
    next = range.high + 1;
  }
  if (next <= last_code_point) {
    gaps.push_back({next, last_code_point});
  }
  return normalized(std::move(gaps));
}

std::vector<std::vector<ByteSet>> utf8_sequences(const std::vector<PointRange>& ranges) {
  // The last code points of one, two, three and four bytes.
  constexpr std::array<uint32_t, 4> last_of_length = {0x7F, 0x7FF, 0xFFFF, last_code_point};
  std::vector<std::vector<ByteSet>> sequences;
  ByteSet single;  // all of one byte together
  for (const PointRange& range : ranges) {
    uint32_t low = range.low;
    for (const uint32_t last : last_of_length) {
      if (low > range.high || low > last) {
        continue;
      }
      const uint32_t high = std::min(range.high, last);
      if (last == last_of_length.front()) {
        single |= bytes_between(static_cast<uint8_t>(low), static_cast<uint8_t>(high));
      } else {
        append_sequences(low, high, sequences);
      }
      low = high + 1;
    }
  }
  if (single.any()) {
    sequences.push_back({single});
  }
  return sequences;
}

}  // namespace demask
