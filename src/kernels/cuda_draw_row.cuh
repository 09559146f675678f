// A row of a large vocabulary's logits, as the threads of a block go through it.
#pragma once

#include "kernels/cuda_draw.cuh"

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
    for (int start = first; start < end; start += size) {
      if (chunks && start + size <= end) {
        for_read(read(start), start, f);
      } else {
        for (int id = start; id < min(start + size, end); ++id) {
          f(id, value(id));
        }
      }
    }
  }
};

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
