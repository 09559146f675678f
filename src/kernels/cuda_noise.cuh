// Uniform numbers of the streams of a batch, written by a grid.
#pragma once

#include "core/philox.h"
#include "kernels/cuda_device.cuh"
#include "kernels/noise_words.h"

namespace demask::kernels::cuda::launch {

inline constexpr int noise_threads = 256;
inline constexpr int64_t noise_positions = 4;  // of a thread: a block of Philox
inline __host__ __device__ int64_t noise_threads_of(int64_t positions) {
  return (positions + noise_positions - 1) / noise_positions;
}

// For each purpose the grid has a row of blocks.
inline dim3 noise_blocks(const NoiseArguments& a) {
  return {blocks_for(a.batch * noise_threads_of(a.positions), noise_threads), static_cast<unsigned>(a.purposes)};
}

inline __device__ void write_noise(const NoiseArguments& a) {
  const int64_t blocks = noise_threads_of(a.positions);
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * noise_threads + threadIdx.x;
  if (thread >= a.batch * blocks) {
    return;
  }
  const int64_t b = thread / blocks, block = thread % blocks;
  const philox::Counter words =
      noise_words(static_cast<uint64_t>(a.seeds[b]), a.sample_indices[b], a.steps[b * a.step_stride], block,
                  blockIdx.y == 0   ? a.purpose[0]
                  : blockIdx.y == 1 ? a.purpose[1]
                                    : a.purpose[2]);
  float* row = a.out + (blockIdx.y * a.batch + b) * a.positions + block * noise_positions;
#pragma unroll
  for (int w = 0; w < noise_positions; ++w) {
    if (block * noise_positions + w < a.positions) {
      row[w] = philox::to_uniform(words[w]);
    }
  }
}

}  // namespace demask::kernels::cuda::launch
