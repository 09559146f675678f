// Drawing from a row of a few hundred tokens: one warp a row, all of it in registers, id = item * 32 + lane.
#pragma once

#include <type_traits>

#include "kernels/cuda_draw.cuh"

namespace demask::kernels::cuda::launch {

// Fills this lane's tempered logits; returns the row's largest, or NaN where one is NaN.
template <typename T, int items>
__device__ float read_row(const DrawArguments& a, int64_t row, float temperature, int lane, float (&x)[items]) {
  const T* logits = row_of<T>(a.logits, row);
  const int outputs = static_cast<int>(a.logits.outputs);
  const bool greedy = temperature == 0;
  float largest = -INFINITY;
  bool nan = false;
#pragma unroll
  for (int k = 0; k < items; ++k) {
    const int id = k * warp_size + lane;
    x[k] = id < outputs ? to_float(logits[id]) + a.forbidden[id] : -INFINITY;
    if (!greedy) {
      x[k] = x[k] / temperature;
    }
    nan = nan || isnan(x[k]);
    largest = fmaxf(largest, x[k]);
  }
  largest = warp_max(largest);
  return __any_sync(all_lanes, nan) ? NAN : largest;
}

template <int items>
__device__ void keep_top_k(float (&x)[items], int64_t top_k) {
  bool kept[items];
#pragma unroll
  for (int k = 0; k < items; ++k) {
    int above = 0;
    for (int j = 0; j < items; ++j) {
      float other_item = -INFINITY;
#pragma unroll
      for (int i = 0; i < items; ++i) {
        other_item = i == j ? x[i] : other_item;
      }
      for (int l = 0; l < warp_size; ++l) {
        above += __shfl_sync(all_lanes, other_item, l) > x[k] ? 1 : 0;
      }
    }
    kept[k] = above < top_k;
  }
#pragma unroll
  for (int k = 0; k < items; ++k) {
    x[k] = kept[k] ? x[k] : -INFINITY;
  }
}

// An id stays as long as those before it, likeliest first, do not exceed `limit`; returns the total of what stays.
template <int items>
__device__ float keep_nucleus(float (&weight)[items], float limit, int lane) {
  float before[items];
#pragma unroll
  for (int k = 0; k < items; ++k) {
    before[k] = 0;
  }
#pragma unroll
  for (int j = 0; j < items; ++j) {
    for (int l = 0; l < warp_size; ++l) {
      const float other = __shfl_sync(all_lanes, weight[j], l);
#pragma unroll
      for (int k = 0; k < items; ++k) {
        const bool precedes = other > weight[k] || (other == weight[k] && (j < k || (j == k && l < lane)));
        before[k] += precedes ? other : 0.0F;
      }
    }
  }
  float total = 0;
#pragma unroll
  for (int k = 0; k < items; ++k) {
    weight[k] = before[k] <= limit ? weight[k] : 0.0F;
    total += weight[k];
  }
  return warp_sum(total);
}

template <int items>
__device__ int lowest_id_of(const float (&x)[items], float value) {
  int lowest = -1;
#pragma unroll
  for (int k = 0; k < items; ++k) {
    const unsigned equal = __ballot_sync(all_lanes, x[k] == value);
    if (lowest < 0 && equal != 0) {
      lowest = k * warp_size + __ffs(static_cast<int>(equal)) - 1;
    }
  }
  return lowest;
}

struct DrawnToken {
  int64_t id = 0;
  float probability = NAN;
};

// Draws from a row; one warp, with the same result in every lane. Where the row is broken, it says so.
template <typename T, int items>
__device__ DrawnToken draw_small_row(const DrawArguments& a, int64_t row, float uniform, int lane) {
  const float temperature = temperature_of(a, row);
  const bool greedy = temperature == 0;
  float x[items];
  const float largest = read_row<T>(a, row, temperature, lane, x);
  if (!isfinite(largest)) {
    if (lane == 0) {
      report_if_broken(a.broken, NAN);
    }
    return {};
  }
  if (filters_top_k(a, greedy)) {
    keep_top_k(x, a.top_k);
  }
  float weight[items];
  float total = 0;
#pragma unroll
  for (int k = 0; k < items; ++k) {
    weight[k] = expf(x[k] - largest);
    total += weight[k];
  }
  total = warp_sum(total);
  if (filters_top_p(a, greedy)) {
    total = keep_nucleus(weight, a.top_p * total, lane);
  }
  if (greedy) {
    return {lowest_id_of(x, largest), 1.0F / total};
  }
  const float threshold = uniform * total;
  Walk walk{};
#pragma unroll
  for (int k = 0; k < items; ++k) {
    walk.pass(k * warp_size, weight[k], threshold, lane);
  }
  const Pick pick = walk.drawn();
  return {pick.id, pick.weight / total};
}

// Calls launch(items) with the values a lane holds of a row of so many, as a constant.
template <typename Launch>
void with_items(int64_t outputs, Launch launch) {
  const int64_t items = (outputs + warp_size - 1) / warp_size;
  if (items <= 2) {
    launch(std::integral_constant<int, 2>{});
  } else if (items <= 3) {
    launch(std::integral_constant<int, 3>{});
  } else if (items <= 4) {
    launch(std::integral_constant<int, 4>{});
  } else {
    launch(std::integral_constant<int, max_small_draw / warp_size>{});
  }
}

}  // namespace demask::kernels::cuda::launch
