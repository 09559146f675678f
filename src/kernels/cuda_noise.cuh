// The uniform numbers of sampling/noise.h on the device.
#pragma once

#include "core/philox.h"
#include "kernels/cuda_device.cuh"
#include "kernels/noise_words.h"

namespace demask::kernels::cuda::launch {

// The numbers of positions 4 * block .. 4 * block + 3 of a sample, of its row of so many positions.
inline __device__ void write_uniforms(uint64_t seed, int64_t index, int64_t step, int64_t block, uint32_t purpose,
                                      float* row, int64_t positions) {
  const philox::Counter words = noise_words(seed, index, step, block, purpose);
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    if (block * 4 + w < positions) {
      row[block * 4 + w] = philox::to_uniform(words[w]);
    }
  }
}

}  // namespace demask::kernels::cuda::launch
