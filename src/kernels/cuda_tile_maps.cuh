// Descriptions of matrices for the copy engine of compute capability 9.0.
#pragma once

#include <cuda.h>
#include <cuda_fp16.h>
#include <dlfcn.h>

#include <cstdint>

#include "kernels/cuda_launch.h"
#include "kernels/cuda_tiles.cuh"

namespace demask::kernels::cuda::launch {

// The driver's function that describes a matrix for the copy engine; the driver is loaded wherever a kernel runs.
inline decltype(&cuTensorMapEncodeTiled) map_encoder() {
  static const auto found = [] {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    return driver == nullptr
               ? nullptr
               : reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(dlsym(driver, "cuTensorMapEncodeTiled"));
  }();
  return found;
}

// Boxes of [1, box_rows, tile_inner] of matrices [count, rows, columns]; false where the driver refuses. One matrix
// alone is described without the count, as its boxes have two directions.
inline bool describe_boxes(Precision precision, const void* matrices, unsigned directions, int64_t count, int64_t rows,
                           int64_t columns, int box_rows, CUtensorMap& map) {
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows),
                              static_cast<cuuint64_t>(count)};
  const cuuint64_t row_bytes = static_cast<cuuint64_t>(columns) * sizeof(__half);
  const cuuint64_t strides[] = {row_bytes, row_bytes * static_cast<cuuint64_t>(rows)};
  const cuuint32_t box[] = {tile_inner, static_cast<cuuint32_t>(box_rows), 1}, steps[] = {1, 1, 1};
  const CUtensorMapDataType type =
      precision == Precision::float16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  return map_encoder()(&map, type, directions, const_cast<void*>(matrices), sizes, strides, box, steps,
                       CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

// Of a matrix [rows, columns].
inline bool describe_tiles(Precision precision, const void* matrix, int64_t rows, int64_t columns, int box_rows,
                           CUtensorMap& map) {
  return describe_boxes(precision, matrix, 2, 1, rows, columns, box_rows, map);
}
// Of matrices [count, rows, columns].
inline bool describe_tiles(Precision precision, const void* matrices, int64_t count, int64_t rows, int64_t columns,
                           int box_rows, CUtensorMap& map) {
  return describe_boxes(precision, matrices, 3, count, rows, columns, box_rows, map);
}

}  // namespace demask::kernels::cuda::launch
