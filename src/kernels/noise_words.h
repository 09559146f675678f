// The random words behind sampling/noise.h, for the host's compiler and for nvcc.
#pragma once

#include <cstdint>

#include "core/philox.h"

namespace demask::kernels {

// A word for each of the positions 4 * block .. 4 * block + 3. Of the counter's words one is the block, one the step,
// one the low 32 bits of the sample's index, and the last has `purpose` above the index's next 24 bits.
constexpr philox::Counter noise_words(uint64_t seed, int64_t index, int64_t step, int64_t block, uint32_t purpose) {
  return philox::generate({static_cast<uint32_t>(block), static_cast<uint32_t>(step), static_cast<uint32_t>(index),
                           purpose << 24 | (static_cast<uint32_t>(index >> 32) & 0xFFFFFFU)},
                          {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

}  // namespace demask::kernels
