// What all of demask's CUDA kernels are made of: memory accesses of 16 bytes, arithmetic in float whatever the type in
// memory, sums over a warp. Each kernel reads what it needs once and writes its result once: on a GPU these steps are
// bound by memory traffic, and LibTorch's own operations would make two to ten passes of them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda_launch.h"

namespace demask::kernels::cuda::launch {

inline constexpr int warp_size = 32;
inline constexpr unsigned all_lanes = 0xFFFFFFFFU;

// A block is small where each of its warps takes a row, and wide where it takes one row itself.
inline constexpr int small_threads = 128;
inline constexpr int small_rows = small_threads / warp_size;
inline constexpr int wide_threads = 512;
inline constexpr int wide_warps = wide_threads / warp_size;

template <typename T>
struct alignas(bytes_at_once) Chunk {
  static constexpr int size = static_cast<int>(bytes_at_once / static_cast<int64_t>(sizeof(T)));
  T values[size];
};

template <typename T>
__device__ Chunk<T> load(const T* pointer) {
  return *reinterpret_cast<const Chunk<T>*>(pointer);
}
template <typename T>
__device__ void store(T* pointer, const Chunk<T>& chunk) {
  *reinterpret_cast<Chunk<T>*>(pointer) = chunk;
}
template <typename T>
__device__ bool starts_chunk(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes_at_once == 0;
}

inline __device__ float to_float(float x) {
  return x;
}
inline __device__ float to_float(__half x) {
  return __half2float(x);
}
inline __device__ float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

template <typename T, int size>
__device__ void to_floats(const Chunk<T>& chunk, float (&values)[size]) {
#pragma unroll
  for (int i = 0; i < size; ++i) {
    values[i] = to_float(chunk.values[i]);
  }
}

template <typename T>
__device__ T from_float(float x);
template <>
inline __device__ float from_float<float>(float x) {
  return x;
}
template <>
inline __device__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
inline __device__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// Waits for so many threads at one of the block's sixteen barriers.
inline __device__ void wait_for_threads(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Counts the calling warp's threads at the barrier, where others wait.
inline __device__ void arrive_at_threads(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

inline __device__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

template <typename Number>
__device__ Number warp_sum(Number x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    x += __shfl_xor_sync(all_lanes, x, offset);
  }
  return x;
}
inline __device__ float warp_max(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(all_lanes, x, offset));
  }
  return x;
}
// Combines what the warps of a block hold, the same in every thread; scratch [warps] in shared memory.
template <typename Number, typename Combine>
__device__ Number combine_warps(Number x, Number* scratch, int warps, Combine combine) {
  __syncthreads();  // whoever still reads the scratch
  if (threadIdx.x % warp_size == 0) {
    scratch[threadIdx.x / warp_size] = x;
  }
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < warps; ++w) {
    x = combine(x, scratch[w]);
  }
  return x;
}
template <int warps>
__device__ float block_max(float x, float* scratch) {
  return combine_warps(warp_max(x), scratch, warps, [](float one, float other) { return fmaxf(one, other); });
}
template <int warps>
__device__ float block_sum(float x, float* scratch) {
  return combine_warps(warp_sum(x), scratch, warps, [](float one, float other) { return one + other; });
}

// Inclusive, in the order of lanes, of several that do not wait for each other.
template <typename Number, int count>
__device__ void warp_scans(Number (&x)[count], int lane) {
  for (int offset = 1; offset < warp_size; offset *= 2) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const Number below = __shfl_up_sync(all_lanes, x[i], offset);
      if (lane >= offset) {
        x[i] += below;
      }
    }
  }
}
template <typename Number>
__device__ Number warp_scan(Number x, int lane) {
  Number one[1] = {x};
  warp_scans(one, lane);
  return one[0];
}

// The row of this warp in a grid of blocks of so many rows.
inline __device__ int64_t row_of_warp(unsigned rows_a_block) {
  return static_cast<int64_t>(blockIdx.x) * rows_a_block + threadIdx.x / warp_size;
}

template <typename T>
__device__ const T* row_of(const Logits& logits, int64_t row) {
  return static_cast<const T*>(logits.data) + row * logits.row_stride;
}

// The same order as the floats', NaN aside.
inline __device__ uint32_t ordered_key(float x) {
  const uint32_t bits = __float_as_uint(x == 0.0F ? 0.0F : x);  // -0 and 0 are equal
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

inline __device__ void report_if_broken(bool* broken, float value) {
  if (broken != nullptr && !isfinite(value)) {
    *broken = true;
  }
}

inline unsigned blocks_for(int64_t items, int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

// Of the current device.
inline int multiprocessors() {
  int device = 0, count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

// Calls f with a value of the type that `precision` names.
template <typename F>
void with_type(Precision precision, F f) {
  switch (precision) {
    case Precision::float32:
      return f(float{});
    case Precision::float16:
      return f(__half{});
    case Precision::bfloat16:
      return f(__nv_bfloat16{});
  }
}

}  // namespace demask::kernels::cuda::launch
