// What drawing does to a row whatever the vocabulary, and the two kinds of kernels for it.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int64_t max_small_draw = 8 * warp_size;  // outputs
void draw_small(Precision precision, const DrawArguments& arguments, cudaStream_t stream);
void draw_wide(Precision precision, const DrawArguments& arguments, cudaStream_t stream);

inline __device__ bool wanted(const DrawArguments& a, int64_t row) {
  return a.wanted == nullptr || a.wanted[row];
}
inline __device__ void keep_given(const DrawArguments& a, int64_t row) {
  a.tokens[row] = a.given[row];
  a.probabilities[row] = 1;
}
inline __device__ void report_broken_row(const DrawArguments& a, int64_t row) {
  a.tokens[row] = 0;
  a.probabilities[row] = NAN;
  report_if_broken(a.broken, NAN);
}

inline __device__ float temperature_of(const DrawArguments& a, int64_t row) {
  return a.temperatures == nullptr ? a.temperature : a.temperatures[row / a.rows_per_temperature];
}
inline __device__ bool filters_top_k(const DrawArguments& a, bool greedy) {
  return !greedy && a.top_k > 0 && a.top_k < static_cast<int>(a.logits.outputs);
}
inline __device__ bool filters_top_p(const DrawArguments& a, bool greedy) {
  return !greedy && a.top_p < 1;
}

struct Pick {
  int id = -1;
  float weight = 0;
  float below = 0;  // the weights of all ids before
};

// Ids whose weights are drawn from in their order, a warp's worth at a time.
struct Walk {
  float below;  // the weights of all ids before
  Pick chosen;  // the first id at which the weights up to it exceed the threshold
  Pick last;    // of those with a weight: where all of them fall short of the threshold by rounding

  // The next ids are first, first + 1, ... with a weight a lane.
  __device__ void pass(int first, float weight, float threshold, int lane) {
    pass_scanned(first, weight, warp_scan(weight, lane), threshold);
  }
  // scan: the weights' sum through this lane.
  __device__ void pass_scanned(int first, float weight, float scan, float threshold) {
    const float cumulative = below + scan;
    const unsigned reached = __ballot_sync(all_lanes, weight > 0 && cumulative > threshold);
    const unsigned possible = __ballot_sync(all_lanes, weight > 0);
    if (chosen.id < 0 && reached != 0) {
      chosen = pick(first, __ffs(static_cast<int>(reached)) - 1, weight, cumulative);
    }
    if (possible != 0) {
      last = pick(first, warp_size - 1 - __clz(static_cast<int>(possible)), weight, cumulative);
    }
    below = __shfl_sync(all_lanes, cumulative, warp_size - 1);
  }

  __device__ Pick drawn() const { return chosen.id < 0 ? last : chosen; }

  // Of the id that this lane holds.
  static __device__ Pick pick(int first, int of_lane, float weight, float cumulative) {
    const float own = __shfl_sync(all_lanes, weight, of_lane);
    return {first + of_lane, own, __shfl_sync(all_lanes, cumulative, of_lane) - own};
  }
};

}  // namespace demask::kernels::cuda::launch
