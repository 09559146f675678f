// The teams of threads that draw texts which match patterns, a warp or a block, and how they come by weights.
#pragma once

#include <cuda_pipeline.h>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int most_warps = 32;

inline __device__ uint32_t warp_max_of(uint32_t x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(all_lanes, x);
#else
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    x = max(x, __shfl_xor_sync(all_lanes, x, offset));
  }
  return x;
#endif
}

// NaN aside.
inline __device__ float warp_max_of(float x) {
#if __CUDA_ARCH__ >= 800
  const uint32_t top = warp_max_of(ordered_key(x == x ? x : -INFINITY));
  return __uint_as_float((top & 0x80000000U) != 0 ? top & 0x7FFFFFFFU : ~top);
#else
  return warp_max(x);
#endif
}

struct Warp {
  uint32_t offered_ = 0;

  __device__ int rank() const { return static_cast<int>(threadIdx.x) % warp_size; }
  __device__ int size() const { return warp_size; }
  __device__ void sync() { __syncwarp(); }
  __device__ float max(float x) { return warp_max_of(x); }
  __device__ double sum(double x) { return warp_sum(x); }
  __device__ bool all(bool x) { return __all_sync(all_lanes, x) != 0; }
  __device__ double scan(double x) { return warp_scan(x, rank()); }
  // Of the steps of all values, which do not wait for each other.
  template <size_t count>
  __device__ void scan_within(double (&x)[count], const int32_t (&before)[count]) {
    for (int offset = 1; offset < warp_size; offset *= 2) {
      for (size_t k = 0; k < count; ++k) {
        const double below = __shfl_up_sync(all_lanes, x[k], offset);
        x[k] += offset <= min(before[k], rank()) ? below : 0.0;
      }
    }
  }
  __device__ int first(bool x) { return __ffs(static_cast<int>(__ballot_sync(all_lanes, x))) - 1; }
  __device__ int last(bool x) { return warp_size - 1 - __clz(static_cast<int>(__ballot_sync(all_lanes, x))); }
  __device__ double of_last_rank(double x) { return __shfl_sync(all_lanes, x, warp_size - 1); }
  __device__ void offer(uint32_t x) { offered_ = warp_max_of(x); }
  __device__ uint32_t offered() const { return offered_; }
  __device__ Warp warp() { return {}; }
  __device__ int warp_rank() const { return 0; }
  __device__ int warps() const { return 1; }
};

// What the threads of a block share.
struct BlockRoom {
  double values[most_warps];
  uint32_t offers[most_warps];
};

struct Block {
  BlockRoom& room;

  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ int size() const { return static_cast<int>(blockDim.x); }
  __device__ int lane() const { return rank() % warp_size; }
  __device__ void sync() { __syncthreads(); }
  template <typename Combine>
  __device__ double combined(double of_warp, Combine combine) {
    return combine_warps(of_warp, room.values, warps(), combine);
  }
  __device__ float max(float x) {
    return static_cast<float>(combined(warp_max(x), [](double one, double other) { return fmax(one, other); }));
  }
  __device__ double sum(double x) {
    return combined(warp_sum(x), [](double one, double other) { return one + other; });
  }
  __device__ bool all(bool x) { return __syncthreads_and(x) != 0; }
  __device__ void offer(uint32_t x) {
    const uint32_t of_warp = warp_max_of(x);
    if (lane() == 0) {
      room.offers[warp_rank()] = of_warp;
    }
  }
  __device__ uint32_t offered() { return warp_max_of(lane() < warps() ? room.offers[lane()] : 0U); }
  __device__ Warp warp() { return {}; }
  __device__ int warp_rank() const { return rank() / warp_size; }
  __device__ int warps() const { return size() / warp_size; }
};

// The weights of positions, brought into shared memory a stretch ahead of where they are read.
struct StagedRows {
  const double* weights;    // of the text
  const int32_t* fixed_as;  // [T]
  double* stage;            // [2, stretch, weights_room]
  int weights_room, stretch;
  int unfetched;  // positions
  int number = 0, fetched = 0, left = 0;
  const double* row = nullptr;

  __device__ void fetch() {
    constexpr int at_once = 2;
    fetched = min(unfetched, stretch);
    unfetched -= fetched;
    const double* from = weights + static_cast<int64_t>(unfetched) * weights_room;
    double* to = stage + (number & 1) * stretch * weights_room;
    for (int i = static_cast<int>(threadIdx.x) * at_once; i < fetched * weights_room;
         i += static_cast<int>(blockDim.x) * at_once) {
      __pipeline_memcpy_async(to + i, from + i, at_once * sizeof(double));
    }
    __pipeline_commit();
  }
  __device__ int32_t fixed(int64_t t) const { return fixed_as[t]; }
  template <typename Team>
  __device__ const double* at(int64_t /*t*/, Team& team) {
    if (left == 0) {
      __pipeline_wait_prior(0);
      team.sync();
      left = fetched;
      row = stage + ((number & 1) * stretch + left) * weights_room;
      ++number;
      fetch();
    }
    --left;
    row -= weights_room;
    return row;
  }
};

struct DirectRows {
  const double* weights;
  const int32_t* fixed_as;
  int weights_room;
  __device__ int32_t fixed(int64_t t) const { return fixed_as[t]; }
  template <typename Team>
  __device__ const double* at(int64_t t, Team& /*team*/) const {
    return weights + t * weights_room;
  }
};

}  // namespace demask::kernels::cuda::launch
