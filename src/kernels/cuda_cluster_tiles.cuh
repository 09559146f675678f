// Tiles that blocks of a cluster copy for each other, and the products of tiles of 256 columns. PTX ISA 8.0 (NVIDIA).
#pragma once

#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_tiles.cuh"

namespace demask::kernels::cuda::launch {

// As load_tile, into the same place of every block whose bit is set in `blocks`, each of which its own barrier tells.
inline __device__ void load_tile_for_cluster(void* to, const CUtensorMap& map, int column, int row,
                                             TileBarrier& barrier, int blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, "
      "%3}], [%4], %5;" ::"r"(shared_address(to)),
      "l"(&map), "r"(column), "r"(row), "r"(shared_address(&barrier.state)), "h"(static_cast<uint16_t>(blocks))
      : "memory");
}

// Arrives at the barrier in the same place of a block of the cluster.
inline __device__ void arrive_in_cluster(const TileBarrier& barrier, int block) {
  asm volatile(
      "{\n.reg .b32 its;\nmapa.shared::cluster.u32 its, %0, %1;\nmbarrier.arrive.shared::cluster.b64 _, [its];\n}" ::
          "r"(shared_address(&barrier.state)),
      "r"(block)
      : "memory");
}

#define DEMASK_SUMS_8(s, i)                                                                                   \
  "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3]), "+f"(s[i + 4]), "+f"(s[i + 5]), "+f"(s[i + 6]), \
      "+f"(s[i + 7])
#define DEMASK_SUMS_32(s, i) \
  DEMASK_SUMS_8(s, i), DEMASK_SUMS_8(s, i + 8), DEMASK_SUMS_8(s, i + 16), DEMASK_SUMS_8(s, i + 24)
#define DEMASK_NAMES_128                                                                         \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define DEMASK_PRODUCT_256(type)                                                                              \
  asm volatile(                                                                                               \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %130, 0;\n"                                                     \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type " {" DEMASK_NAMES_128                      \
      "}, %128, %129, adds, 1, 1, 0, 0;\n}"                                                                   \
      : DEMASK_SUMS_32(sums, 0), DEMASK_SUMS_32(sums, 32), DEMASK_SUMS_32(sums, 64), DEMASK_SUMS_32(sums, 96) \
      : "l"(x), "l"(weight), "r"(adds))

// As for fewer columns.
template <typename T>
__device__ void multiply_tiles(float (&sums)[128], uint64_t x, uint64_t weight, int adds) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    DEMASK_PRODUCT_256("bf16");
  } else {
    DEMASK_PRODUCT_256("f16");
  }
}
#undef DEMASK_PRODUCT_256
#undef DEMASK_NAMES_128
#undef DEMASK_SUMS_32
#undef DEMASK_SUMS_8

}  // namespace demask::kernels::cuda::launch
