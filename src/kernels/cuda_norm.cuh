// The arithmetic of a norm whose row is spread over lanes, chunk c of a lane being the row's chunk c * lanes + lane.
// Who follows it, with sums over the lanes in the order of warp_sum, has the same bits.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

inline __device__ float mean_of(float sum, int width) {
  return sum / static_cast<float>(width);
}
inline __device__ float norm_scale(float squares, int width, float epsilon) {
  return rsqrtf(squares / static_cast<float>(width) + epsilon);
}

// Takes the mean off this lane's values; returns the sum of their squares.
template <int lanes, int chunks, int size>
__device__ float centre(float (&values)[chunks][size], float mean, int lane, int width) {
  float squares = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    if ((c * lanes + lane) * size < width) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] -= mean;
        squares += values[c][i] * values[c][i];
      }
    }
  }
  return squares;
}

// A norm's weight and bias for one chunk.
template <typename T>
struct NormWeight {
  Chunk<T> weight{}, bias{};
  NormWeight() = default;
  __device__ NormWeight(const void* weights, const void* biases, int column)
      : weight(load(static_cast<const T*>(weights) + column)) {
    if (biases != nullptr) {
      bias = load(static_cast<const T*>(biases) + column);
    }
  }
  __device__ Chunk<T> applied(const float (&centred)[Chunk<T>::size], float scale) const {
    Chunk<T> out;
#pragma unroll
    for (int i = 0; i < Chunk<T>::size; ++i) {
      out.values[i] = from_float<T>(centred[i] * scale * to_float(weight.values[i]) + to_float(bias.values[i]));
    }
    return out;
  }
};

}  // namespace demask::kernels::cuda::launch
