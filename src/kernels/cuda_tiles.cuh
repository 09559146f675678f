// Hopper's own instructions for products of tiles (compute capability 9.0 alone, target sm_90a): tiles of a matrix are
// copied between global and shared memory by the copy engine, and multiplied by a warpgroup of four warps from there.
// PTX ISA 8.0 (NVIDIA), sections on mbarrier, cp.async.bulk.tensor and wgmma.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// A barrier in shared memory. Its phase ends when all arrivals and all announced bytes have come.
struct TileBarrier {
  uint64_t state;

  __device__ void start(int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&state)), "r"(arrivals) : "memory");
  }
  __device__ void arrive() {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&state)) : "memory");
  }
  __device__ void arrive_and_expect(uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&state)), "r"(bytes)
                 : "memory");
  }
  // Until the phase of this parity has ended: 0 for the first, 1 for the second, and so on in turns.
  __device__ void wait(uint32_t parity) {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
        "@ended bra done;\n"
        "bra again;\n"
        "done:\n"
        "}" ::"r"(shared_address(&state)),
        "r"(parity)
        : "memory");
  }
};

// Of the block's warps, the thread's own: from the first lane, so that the compiler sees that a warp's are the same.
inline __device__ int number_of_warp() {
  return __shfl_sync(all_lanes, static_cast<int>(threadIdx.x) / warp_size, 0);
}

// True in one thread of a whole warp. Where that is what copies, rather than a thread by its number, the compiler knows
// the operands to be the warp's: a copy takes three instructions in place of a loop over the threads' operands.
inline __device__ bool speaks_for_warp() {
  uint32_t elected = 0;
  asm volatile("{\n.reg .pred elected;\nelect.sync _|elected, 0xffffffff;\nselp.u32 %0, 1, 0, elected;\n}"
               : "=r"(elected));
  return elected != 0;
}

// Makes started barriers known to the copy engine.
inline __device__ void fence_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Asks for a map that is needed soon.
inline __device__ void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Copies the map's box that begins there into shared memory; what lies outside the matrix becomes 0.
inline __device__ void load_tile(void* to, const CUtensorMap& map, int column, int row, TileBarrier& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          shared_address(to)),
      "l"(&map), "r"(column), "r"(row), "r"(shared_address(&barrier.state))
      : "memory");
}

// The same of a map of several matrices.
inline __device__ void load_tile(void* to, const CUtensorMap& map, int column, int row, int matrix,
                                 TileBarrier& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::
          "r"(shared_address(to)),
      "l"(&map), "r"(column), "r"(row), "r"(matrix), "r"(shared_address(&barrier.state))
      : "memory");
}

// Asks for the box in the L2 cache.
inline __device__ void prefetch_tile(const CUtensorMap& map, int column, int row) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(&map), "r"(column), "r"(row)
               : "memory");
}

// Copies a box from shared memory; what lies outside the matrix is left out. Ordinary stores that wrote it need
// fence_shared_for_copies in each thread and a barrier before this.
inline __device__ void store_tile(const CUtensorMap& map, int column, int row, const void* from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(column),
               "r"(row), "r"(shared_address(from))
               : "memory");
}
inline __device__ void store_tile(const CUtensorMap& map, int column, int row, int matrix, const void* from) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(&map),
               "r"(column), "r"(row), "r"(matrix), "r"(shared_address(from))
               : "memory");
}
// The same added to what stands there, rounded as a sum of the matrix's own type is.
inline __device__ void add_stored_tile(const CUtensorMap& map, int column, int row, const void* from) {
  asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map),
               "r"(column), "r"(row), "r"(shared_address(from))
               : "memory");
}
inline __device__ void fence_shared_for_copies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
inline __device__ void end_group_of_stores() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// Until no store of this thread's reads shared memory any more.
inline __device__ void wait_for_stores() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

// A warpgroup's share of the registers, for each of its threads.
template <int registers>
__device__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

// Where a tile's rows of 128 bytes lie in shared memory, as the multiplying instruction wants it: eight rows after
// another, their chunks of 16 bytes exchanged by the row's number (the copy engine's swizzle of 128 bytes).
inline constexpr int tile_row_bytes = 128;
inline constexpr int tile_inner = 64;       // values of two bytes in such a row
inline constexpr int tile_unit_bytes = 16;  // what a descriptor counts by
inline __device__ uint64_t tile_of(const void* pointer) {
  constexpr uint64_t swizzled = uint64_t{1} << 62, rows_apart = uint64_t{8 * tile_row_bytes / tile_unit_bytes} << 32,
                     unused = uint64_t{1} << 16;
  return (shared_address(pointer) & 0x3FFFFU) / tile_unit_bytes | unused | rows_apart | swizzled;
}
// The descriptor of the same rows, so many bytes further in each of them.
inline __device__ uint64_t further(uint64_t tile, int bytes) {
  return tile + static_cast<uint64_t>(bytes / tile_unit_bytes);
}

// Before the first product of a warpgroup, and where its sums were written by other instructions.
inline __device__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
inline __device__ void end_group_of_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most so many of the latest groups are unfinished.
template <int unfinished>
__device__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(unfinished) : "memory");
}

#define DEMASK_SUMS_8(s, i)                                                                                   \
  "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3]), "+f"(s[i + 4]), "+f"(s[i + 5]), "+f"(s[i + 6]), \
      "+f"(s[i + 7])
#define DEMASK_SUMS_16(s, i) DEMASK_SUMS_8(s, i), DEMASK_SUMS_8(s, i + 8)
#define DEMASK_SUMS_32(s, i) DEMASK_SUMS_16(s, i), DEMASK_SUMS_16(s, i + 16)
#define DEMASK_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define DEMASK_NAMES_32 \
  DEMASK_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define DEMASK_PRODUCT_32(type)                                                        \
  asm volatile(                                                                        \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %18, 0;\n"                               \
      "wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type " {" DEMASK_NAMES_16 \
      "}, %16, %17, adds, 1, 1, 0, 0;\n}"                                              \
      : DEMASK_SUMS_16(sums, 0)                                                        \
      : "l"(x), "l"(weight), "r"(adds))
#define DEMASK_PRODUCT_64(type)                                                        \
  asm volatile(                                                                        \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %34, 0;\n"                               \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" DEMASK_NAMES_32 \
      "}, %32, %33, adds, 1, 1, 0, 0;\n}"                                              \
      : DEMASK_SUMS_32(sums, 0)                                                        \
      : "l"(x), "l"(weight), "r"(adds))
#define DEMASK_NAMES_64                                                                \
  DEMASK_NAMES_32                                                                      \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define DEMASK_NAMES_96                                                                \
  DEMASK_NAMES_64                                                                      \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define DEMASK_PRODUCT_128(type)                                                        \
  asm volatile(                                                                         \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %66, 0;\n"                                \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" DEMASK_NAMES_64 \
      "}, %64, %65, adds, 1, 1, 0, 0;\n}"                                               \
      : DEMASK_SUMS_32(sums, 0), DEMASK_SUMS_32(sums, 32)                               \
      : "l"(x), "l"(weight), "r"(adds))
#define DEMASK_PRODUCT_192(type)                                                        \
  asm volatile(                                                                         \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %98, 0;\n"                                \
      "wgmma.mma_async.sync.aligned.m64n192k16.f32." type "." type " {" DEMASK_NAMES_96 \
      "}, %96, %97, adds, 1, 1, 0, 0;\n}"                                               \
      : DEMASK_SUMS_32(sums, 0), DEMASK_SUMS_32(sums, 32), DEMASK_SUMS_32(sums, 64)     \
      : "l"(x), "l"(weight), "r"(adds))
// sums [64, columns] of a warpgroup (+)= x [64, 16] times weight [columns, 16] transposed, for 32, 64, 128 or 192
// columns. Lane l of warp w holds, of rows 16 w + l / 4 and the eighth after it, columns 8 j + 2 (l % 4) and the next:
// the upper row's in sums[4 j] and sums[4 j + 1], the lower row's in the two after these.
template <typename T>
__device__ void multiply_tiles(float (&sums)[16], uint64_t x, uint64_t weight, int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_PRODUCT_32("bf16");
  } else {
    DEMASK_PRODUCT_32("f16");
  }
}
template <typename T>
__device__ void multiply_tiles(float (&sums)[32], uint64_t x, uint64_t weight, int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_PRODUCT_64("bf16");
  } else {
    DEMASK_PRODUCT_64("f16");
  }
}
template <typename T>
__device__ void multiply_tiles(float (&sums)[64], uint64_t x, uint64_t weight, int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_PRODUCT_128("bf16");
  } else {
    DEMASK_PRODUCT_128("f16");
  }
}
template <typename T>
__device__ void multiply_tiles(float (&sums)[96], uint64_t x, uint64_t weight, int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_PRODUCT_192("bf16");
  } else {
    DEMASK_PRODUCT_192("f16");
  }
}

#define DEMASK_WEIGHTS_64(type)                                                        \
  asm volatile(                                                                        \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %37, 0;\n"                               \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" DEMASK_NAMES_32 \
      "}, {%32, %33, %34, %35}, %36, adds, 1, 1, 1;\n}"                                \
      : DEMASK_SUMS_32(sums, 0)                                                        \
      : "r"(a), "r"(b), "r"(c), "r"(d), "l"(values), "r"(adds))

// sums [64, 64] (+)= weights [64, 16] times values [16, 64]. The weights are in registers, rounded in pairs: where a
// thread's sums of 16 columns stand in s, a pairs s[0] and s[1], b the next two, and so on.
template <typename T>
__device__ void multiply_weights(float (&sums)[32], uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint64_t values,
                                 int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_WEIGHTS_64("bf16");
  } else {
    DEMASK_WEIGHTS_64("f16");
  }
}
#undef DEMASK_WEIGHTS_64

#define DEMASK_STORED_WEIGHTS_64(type)                                                 \
  asm volatile(                                                                        \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %34, 0;\n"                               \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" DEMASK_NAMES_32 \
      "}, %32, %33, adds, 1, 1, 0, 1;\n}"                                              \
      : DEMASK_SUMS_32(sums, 0)                                                        \
      : "l"(weights), "l"(values), "r"(adds))

// The same of weights in shared memory, that lie as x does for multiply_tiles.
template <typename T>
__device__ void multiply_weights(float (&sums)[32], uint64_t weights, uint64_t values, int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_STORED_WEIGHTS_64("bf16");
  } else {
    DEMASK_STORED_WEIGHTS_64("f16");
  }
}
#undef DEMASK_STORED_WEIGHTS_64
#undef DEMASK_PRODUCT_192
#undef DEMASK_PRODUCT_128
#undef DEMASK_PRODUCT_64
#undef DEMASK_PRODUCT_32
#undef DEMASK_NAMES_96
#undef DEMASK_NAMES_64
#undef DEMASK_NAMES_32
#undef DEMASK_NAMES_16
#undef DEMASK_SUMS_32
#undef DEMASK_SUMS_16
#undef DEMASK_SUMS_8

// sums [64, columns] (+)= a box of 64 rows of x times a box of `columns` rows of a matrix, both tile_inner wide; to
// what stands in sums where `adds`.
template <typename T, int sums_a_thread>
__device__ void multiply_boxes(float (&sums)[sums_a_thread], uint64_t x, uint64_t matrix, bool adds) {
  constexpr int at_once = 16;  // of tile_inner, by an instruction
#pragma unroll
  for (int k = 0; k < tile_inner / at_once; ++k) {
    const int bytes = k * at_once * static_cast<int>(sizeof(T));
    multiply_tiles<T>(sums, further(x, bytes), further(matrix, bytes), adds || k > 0 ? 1 : 0);
  }
}

}  // namespace demask::kernels::cuda::launch
