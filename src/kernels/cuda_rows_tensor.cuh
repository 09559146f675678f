// How products of a few rows on tensor cores cut a sum over `inner`: block by block of 32 values to the warps in turn,
// whose sums are added in their order, whatever the number of rows.
#pragma once

#include <type_traits>

#include "kernels/cuda_rows.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int least_warps = 4, most_warps = 16;
inline constexpr int values_a_block = 32;               // of `inner`: two instructions' worth
inline constexpr int blocks_a_warp = 8;                 // beyond which more warps share a row
inline constexpr int tile_rows = 16, tile_outputs = 8;  // of an instruction
inline constexpr int tile_values = 4;                   // of its result, that a thread holds

// That share a row of the matrix.
constexpr int warps_for(int64_t inner) {
  const int64_t blocks = (inner + values_a_block - 1) / values_a_block;
  int warps = least_warps;
  while (warps < most_warps && blocks > static_cast<int64_t>(warps) * blocks_a_warp) {
    warps *= 2;
  }
  return warps;
}

// From one row in shared memory to the next: lanes that read eight rows at a time then reach every bank.
__host__ __device__ constexpr int64_t row_stride(int64_t inner) {
  const int64_t blocks = (inner + values_a_block - 1) / values_a_block;
  return (blocks | 1) * values_a_block;
}

// Adds to sums [16, 8] the product of rows [16, 16] and the matrix [16, 8], as PTX lays them out for a warp.
template <typename T>
__device__ void multiply_add(float (&sums)[tile_values], unsigned row, unsigned lower_row, unsigned row_end,
                             unsigned lower_row_end, unsigned matrix, unsigned matrix_end) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same<T, __half>::value) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(row), "r"(lower_row), "r"(row_end), "r"(lower_row_end), "r"(matrix), "r"(matrix_end));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(row), "r"(lower_row), "r"(row_end), "r"(lower_row_end), "r"(matrix), "r"(matrix_end));
  }
#endif
}

// x [rows, inner] normed into shared memory.
template <typename T>
__device__ void norm_into(const RowProductArguments& a, const StagedNorm<T>& norm, T* staged, int stride) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, inner = static_cast<int>(a.inner);
  for (int row = static_cast<int>(threadIdx.x) / warp_size; row < a.rows;
       row += static_cast<int>(blockDim.x) / warp_size) {
    const T* source = static_cast<const T*>(a.x) + row * a.inner;
    T* own = staged + row * stride;
    for_lane_chunks<T>(inner, lane, [&](int column) { store(own + column, load(source + column)); });
    norm_shared_row(a, norm.weight, norm.bias, own, lane);
  }
  __syncthreads();
}

}  // namespace demask::kernels::cuda::launch
