// Products of a few rows by wide matrices, which take as long as the matrix takes to come from memory. A library's
// kernels leave memory idle at their ends, between them and where their tiles are too few for all multiprocessors;
// these cut the columns so that each multiprocessor has its share, keep a ring of copies on their way, and ask for
// their first stages, and more of them in the L2 cache, while the kernels before still run. A sum goes through `inner`
// in the order of the tiles' kernels.
#include "kernels/cuda_launch.h"

#ifdef DEMASK_CUDA_TILES
#include <algorithm>

#include "kernels/cuda_stream_product_kernel.cuh"
#include "kernels/cuda_tile_maps.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// Of two kernels that share a multiprocessor each has half of its memory.
constexpr int stream_bytes = 108 * 1024;
constexpr int64_t prefetched_bytes = int64_t{16} << 20;  // of the L2 cache's 50 MB

// So few that as many matrices' columns as a model is wide are shared by almost all multiprocessors. (By 96, the wider
// ones of a model's matrices were slower than a library's kernels, and these by 32.)
constexpr int stream_columns = 32;

template <typename T, int columns = stream_columns>
bool launch_stream(Precision precision, const TileProductArguments& a, cudaStream_t cuda_stream) {
  constexpr int rows_a_box = 8;
  Stream stream{};
  stream.tiles = static_cast<int>(blocks_for(a.outputs, columns));
  stream.steps = static_cast<int>(blocks_for(a.inner, stream_inner));
  stream.rows = static_cast<int>(a.rows);
  stream.outputs = static_cast<int>(a.outputs);
  stream.row_box = static_cast<int>(blocks_for(a.rows, rows_a_box)) * rows_a_box;
  CUtensorMap x, weight;
  if (!describe_tiles(precision, a.x, a.rows, a.inner, stream.row_box, x) ||
      !describe_tiles(precision, a.weight, a.outputs, a.inner, columns, weight)) {
    return false;
  }
  stream.stages = most_stream_stages;
  while (StreamRoom<columns>{nullptr, stream}.bytes() > stream_bytes) {
    --stream.stages;
  }
  const auto rounds = static_cast<int>(blocks_for(stream.tiles, multiprocessors()));
  const unsigned blocks = blocks_for(stream.tiles, rounds);
  stream.ahead =
      static_cast<int>(prefetched_bytes / (static_cast<int64_t>(blocks) * StreamRoom<columns>::weight_bytes));
  FinishArguments finish;
  finish.bias = a.bias;
  finish.rows = stream.rows;
  finish.outputs = stream.outputs;
  const int bytes = StreamRoom<columns>{nullptr, stream}.bytes();
  const auto kernel = stream_product_kernel<T, columns>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    return false;
  }
  launch_early(kernel, dim3(blocks), stream_threads, static_cast<size_t>(bytes), cuda_stream, x, weight,
               static_cast<T*>(a.out), finish, stream);
  return true;
}

}  // namespace

bool takes_stream_product(int64_t rows) {
  return rows <= most_stream_rows && has_tile_products();
}

bool stream_product(Precision precision, const TileProductArguments& a, cudaStream_t stream) {
  return precision == Precision::float16 ? launch_stream<__half>(precision, a, stream)
                                         : launch_stream<__nv_bfloat16>(precision, a, stream);
}

}  // namespace demask::kernels::cuda::launch

#else  // a compiler without these instructions

namespace demask::kernels::cuda::launch {

bool takes_stream_product(int64_t /*rows*/) {
  return false;
}
bool stream_product(Precision /*precision*/, const TileProductArguments& /*a*/, cudaStream_t /*stream*/) {
  return false;
}

}  // namespace demask::kernels::cuda::launch

#endif
