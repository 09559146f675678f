// What attention does with a row's scores of a part of the keys, see kernels/cuda_bidirectional_attention.cu. All
// divisions of the work take it from here, so that a row's bits are the same with each.
#pragma once

#include <cmath>

#include "kernels/cuda_bidirectional_attention_copies.cuh"

namespace demask::kernels::cuda::launch {

// Of 64 queries and a part's keys. A thread's rows and columns are those of multiply_tiles: of its row 0 or 1,
// columns 8 j and the next stand in scores[4 * j + 2 * row] and behind it.
using PartScores = float[part_keys / 2];

inline __device__ float power_of_two(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// What stands behind the text's end counts for nothing; before it are so many of the part's keys.
inline __device__ void leave_out(PartScores& scores, int keys) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int i = 0; i < part_keys / 2; ++i) {
    if (i / 4 * 8 + column + i % 2 >= keys) {
      scores[i] = -INFINITY;
    }
  }
}

// A row's largest score, of all threads that have columns of it.
inline __device__ float largest_score(const PartScores& scores, int row) {
  float largest = fmaxf(scores[2 * row], scores[2 * row + 1]);
#pragma unroll
  for (int j = 1; j < part_keys / 8; ++j) {
    largest = fmaxf(largest, fmaxf(scores[4 * j + 2 * row], scores[4 * j + 2 * row + 1]));
  }
  largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 1));
  return fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 2));
}

// The score that a row's powers are taken against: the one of the parts before, unless this part's largest is so much
// larger that powers would leave their range.
inline __device__ float raised(float kept, float largest, float scale) {
  constexpr float range = 8;
  return (largest - kept) * scale > range ? largest : kept;
}

// Scores become powers.
inline __device__ void take_powers(PartScores& scores, int row, float against, float scale) {
  const float shift = -against * scale;
#pragma unroll
  for (int j = 0; j < part_keys / 8; ++j) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float& score = scores[4 * j + 2 * row + i];
      score = power_of_two(fmaf(score, scale, shift));
    }
  }
}

// A thread's part of a row's sum of powers, of which those of the parts before count `before` times.
inline __device__ float add_powers(const PartScores& powers, int row, float sum, float before) {
  float even = fmaf(sum, before, powers[2 * row]), odd = powers[2 * row + 1];
#pragma unroll
  for (int j = 1; j < part_keys / 8; ++j) {
    even += powers[4 * j + 2 * row];
    odd += powers[4 * j + 2 * row + 1];
  }
  return even + odd;
}

// What a row's sums are multiplied with in the end, by all threads' parts of its sum of powers.
inline __device__ float share_of(float sum) {
  sum += __shfl_xor_sync(all_lanes, sum, 1);
  sum += __shfl_xor_sync(all_lanes, sum, 2);
  return 1 / sum;
}

}  // namespace demask::kernels::cuda::launch
