#include "checkpoint/finite_floats.h"

#include <cstring>

namespace demask {

bool are_below(const float* numbers, int64_t count, uint32_t limit) {
  using Bits = uint32_t __attribute__((vector_size(16)));
  constexpr int64_t each = 4, at_once = 4;  // numbers of a vector, vectors that do not wait for each other
  const int64_t whole = count / (each * at_once) * (each * at_once);
  const uint32_t distance = 0x80000000U - limit;  // the highest bit tells what has come so far
  Bits reached[at_once] = {};
  for (int64_t i = 0; i < whole; i += each * at_once) {
    for (int64_t k = 0; k < at_once; ++k) {
      Bits bits;
      std::memcpy(&bits, numbers + i + k * each, sizeof bits);
      reached[k] |= (bits & 0x7FFFFFFFU) + distance;
    }
  }
  const Bits vectors = (reached[0] | reached[1]) | (reached[2] | reached[3]);
  uint32_t all = vectors[0] | vectors[1] | vectors[2] | vectors[3];
  for (int64_t i = whole; i < count; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, numbers + i, sizeof bits);
    all |= (bits & 0x7FFFFFFFU) + distance;
  }
  return all >> 31U == 0;
}

}  // namespace demask
