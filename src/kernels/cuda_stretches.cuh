// How sums over a row of a large vocabulary are cut, whichever kernel makes them: so they have the same bits in all.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// A stretch is a warp's work, and each lane has `per_lane` neighbouring ids of it. The cut depends on nothing but the
// outputs.
struct Stretches {
  static constexpr int most = 2048;
  static constexpr int chunk = 8;  // ids that a lane reads at once, for every T
  int per_lane, per_warp, count;

  explicit __host__ __device__ Stretches(int outputs) {
    constexpr int most_chunks = most * warp_size;
    const int chunks = (outputs + chunk - 1) / chunk;
    per_lane = (chunks + most_chunks - 1) / most_chunks * chunk;
    per_warp = per_lane * warp_size;
    count = (outputs + per_warp - 1) / per_warp;
  }
  __device__ int first(int stretch, int lane) const { return stretch * per_warp + lane * per_lane; }
};

// Neighbouring logits as they lie in memory, and -infinity past the row's end.
template <typename T>
struct LogitChunk {
  static constexpr int size = Stretches::chunk, each = Chunk<T>::size;
  Chunk<T> parts[size / each];

  // Of a row that starts a chunk and goes on as far.
  __device__ void read_whole(const T* first) {
#pragma unroll
    for (int part = 0; part < size / each; ++part) {
      parts[part] = load(first + part * each);
    }
  }
  // `aligned`: whether the row starts a chunk. `first` is a multiple of the size.
  __device__ void read(const T* row, int first, int outputs, bool aligned) {
#pragma unroll
    for (int part = 0; part < size / each; ++part) {
      if (aligned && first + size <= outputs) {
        parts[part] = load(row + first + part * each);
      } else {
#pragma unroll
        for (int i = 0; i < each; ++i) {
          const int id = first + part * each + i;
          parts[part].values[i] = id < outputs ? row[id] : from_float<T>(-INFINITY);
        }
      }
    }
  }
  __device__ void to(float (&values)[size]) const {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      values[i] = to_float(parts[i / each].values[i % each]);
    }
  }
};

}  // namespace demask::kernels::cuda::launch
