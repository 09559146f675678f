// A row of a large vocabulary's logits, as the threads of a block go through it.
#pragma once

#include "kernels/cuda_draw.cuh"
#include "kernels/cuda_stretches.cuh"

namespace demask::kernels::cuda::launch {

template <typename T>
__device__ const T* stage_row(const T* source, int outputs, unsigned char* stage) {
  T* copy = reinterpret_cast<T*>(stage);
  if (starts_chunk(source)) {
    constexpr int size = Chunk<T>::size;
    const int whole = outputs / size;
    for (int i = threadIdx.x; i < whole; i += static_cast<int>(blockDim.x)) {
      store(copy + i * size, load(source + i * size));
    }
    for (int i = whole * size + threadIdx.x; i < outputs; i += static_cast<int>(blockDim.x)) {
      copy[i] = source[i];
    }
  } else {
    for (int i = threadIdx.x; i < outputs; i += static_cast<int>(blockDim.x)) {
      copy[i] = source[i];
    }
  }
  __syncthreads();
  return copy;
}

// Logits as they are, or tempered ones.
template <typename T, bool is_tempered>
struct Row {
  static constexpr int size = 8;  // ids next to each other, for every T: so a stage changes no sum
  const T* source;
  const float* forbidden;
  int outputs;
  float temperature;
  bool greedy;
  float largest;

  // Of logits, computed again in each pass.
  __device__ float tempered(float logit, float forbids) const {
    return greedy ? logit + forbids : (logit + forbids) / temperature;
  }
  __device__ float value(int id) const {
    if constexpr (is_tempered) {
      return source[id];
    } else {
      return tempered(to_float(source[id]), __ldg(forbidden + id));
    }
  }
  __device__ bool starts_chunks() const { return starts_chunk(source) && starts_chunk(forbidden); }

  // What stands in memory of `size` ids.
  struct Read {
    Chunk<T> logits[size / Chunk<T>::size];
    Chunk<float> forbids[is_tempered ? 1 : size / Chunk<float>::size];
  };
  __device__ Read read(int first) const {
    Read read;
#pragma unroll
    for (int k = 0; k < size; k += Chunk<T>::size) {
      read.logits[k / Chunk<T>::size] = load(source + first + k);
    }
#pragma unroll
    for (int k = 0; k < size && !is_tempered; k += Chunk<float>::size) {
      read.forbids[k / Chunk<float>::size] = load(forbidden + first + k);
    }
    return read;
  }

  // Calls f(id, value) for the ids first .. first + size - 1, where first is a multiple of size.
  template <typename F>
  __device__ void for_read(const Read& read, int first, F f) const {
    constexpr int loaded = Chunk<T>::size, forbids_loaded = Chunk<float>::size;
#pragma unroll
    for (int k = 0; k < size; ++k) {
      const float logit = to_float(read.logits[k / loaded].values[k % loaded]);
      f(first + k, is_tempered ? logit : tempered(logit, read.forbids[k / forbids_loaded].values[k % forbids_loaded]));
    }
  }

  // Calls f(id, value) for this thread's ids; those of all threads are all. What comes next is asked for before.
  template <typename F>
  __device__ void for_each(F f) const {
    const int threads = static_cast<int>(blockDim.x), whole = starts_chunks() ? outputs / size * size : 0;
    int first = static_cast<int>(threadIdx.x) * size;
    Read next;
    if (first < whole) {
      next = read(first);
    }
    while (first < whole) {
      const Read current = next;
      const int at = first;
      first += threads * size;
      if (first < whole) {
        next = read(first);
      }
      for_read(current, at, f);
    }
    for (int id = whole + static_cast<int>(threadIdx.x); id < outputs; id += threads) {
      f(id, value(id));
    }
  }

  // Calls f(id, value) for the ids first .. end - 1 in their order; first is a multiple of size.
  template <typename F>
  __device__ void for_range(int first, int end, F f) const {
    const bool chunks = starts_chunks();
#pragma unroll 1
    for (int start = first; start < end; start += size) {
      if (chunks && start + size <= end) {
        for_read(read(start), start, f);
      } else {
#pragma unroll 1
        for (int id = start; id < min(start + size, end); ++id) {
          f(id, value(id));
        }
      }
    }
  }
};

// The weights of a lane's ids of a stretch.
template <typename Row, typename WeightOf>
__device__ float sum_of_lane(const Row& row, const Stretches& stretches, int stretch, int lane, WeightOf weight_of) {
  const int first = stretches.first(stretch, lane);
  float sum = 0;
  row.for_range(first, min(first + stretches.per_lane, row.outputs), [&](int id, float x) { sum += weight_of(id, x); });
  return sum;
}

// Without initial values, which shared memory cannot have.
struct Crossing {
  int id;
  float weight;
};
constexpr Crossing no_crossing{-1, 0};

// The sum of all stretches' weights. One warp's work, as the next two.
inline __device__ float total_of_stretches(const Stretches& stretches, const float* sums) {
  float total = 0;
#pragma unroll 2
  for (int stretch = static_cast<int>(threadIdx.x) % warp_size; stretch < stretches.count; stretch += warp_size) {
    total += sums[stretch];
  }
  return warp_sum(total);
}

// The first stretch at which the weights up to it exceed `limit`, or the last with a weight, or -1.
inline __device__ Pick crossing_stretch(const Stretches& stretches, const float* sums, float limit) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  Walk over_stretches{};
  constexpr int together = 4;  // whose scans do not wait for each other
#pragma unroll 1
  for (int start = 0; start < stretches.count && over_stretches.chosen.id < 0; start += together * warp_size) {
    float weights[together], scans[together];
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int stretch = start + i * warp_size + lane;
      weights[i] = scans[i] = stretch < stretches.count ? sums[stretch] : 0.0F;
    }
    warp_scans(scans, lane);
#pragma unroll
    for (int i = 0; i < together; ++i) {
      over_stretches.pass_scanned(start + i * warp_size, weights[i], scans[i], limit);
    }
  }
  return over_stretches.drawn();
}

// The first id at which the weights up to it, in the order of ids, exceed threshold(all weights' total); where rounding
// keeps them below it, the last id with a weight; -1 where none has one. By the sums of all stretches.
template <typename Row, typename WeightOf, typename Threshold>
__device__ Crossing cross_stretches(const Row& row, const Stretches& stretches, const float* sums, float* all,
                                    WeightOf weight_of, Threshold threshold) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  *all = total_of_stretches(stretches, sums);
  const float limit = threshold(*all);
  Crossing crossing = no_crossing;
  if (const Pick stretch = crossing_stretch(stretches, sums, limit); stretch.id >= 0) {
    Walk over_lanes{};
    over_lanes.below = stretch.below;
    over_lanes.pass(0, sum_of_lane(row, stretches, stretch.id, lane, weight_of), limit, lane);
    const Pick owner = over_lanes.drawn();
    const int first = stretches.first(stretch.id, owner.id);
    float below = owner.below;
    bool exceeded = false;
    row.for_range(first, min(first + stretches.per_lane, row.outputs), [&](int id, float x) {
      const float weight = weight_of(id, x);
      if (!exceeded && weight > 0) {
        below += weight;
        crossing = {id, weight};
        exceeded = below > limit;
      }
    });
  }
  return crossing;
}

// Infinity where one is NaN.
template <typename Row>
__device__ float find_largest(const Row& row, float* scratch) {
  float largest = -INFINITY;
  bool nan = false;
  row.for_each([&](int, float x) {
    nan = nan || isnan(x);
    largest = fmaxf(largest, x);
  });
  return combine_warps(warp_max(nan ? INFINITY : largest), scratch, static_cast<int>(blockDim.x) / warp_size,
                       [](float one, float other) { return fmaxf(one, other); });
}

}  // namespace demask::kernels::cuda::launch
