// All that stands between two attentions in one kernel, for work whose single kernels spend most of their time on
// beginning and ending. The bits are those of tile_product and norm: each sum goes through its row in their order.
#include "kernels/cuda_launch.h"

#ifdef DEMASK_CUDA_TILES
#include "kernels/cuda_between_kernel.cuh"
#include "kernels/cuda_tile_maps.cuh"

namespace demask::kernels::cuda::launch {
namespace {

template <typename Shape>
bool describe_between(Precision precision, const BetweenArguments& a, BetweenMaps& maps) {
  constexpr int width = Shape::width, columns = Shape::groups * between_columns;
  const int hidden = a.slices * width;
  return describe_tiles(precision, a.mixed, a.rows, width, group_rows, maps.mixed) &&
         describe_tiles(precision, a.projection.weight, width, width, columns, maps.projection) &&
         describe_tiles(precision, a.expand.weight, hidden, width, columns, maps.expand) &&
         describe_tiles(precision, a.contract.weight, width, hidden, columns, maps.contract) &&
         (a.last || describe_tiles(precision, a.next.weight, 3 * width, width, columns, maps.next));
}

// Takes only as many rows as clusters that all run at once.
template <typename T, typename Shape, typename Finish>
bool launch_between(Precision precision, const BetweenArguments& a, cudaStream_t stream) {
  const auto kernel = between_kernel<T, Shape, Activation::gelu, Finish>;
  BetweenMaps maps{};
  if (!describe_between<Shape>(precision, a, maps) ||
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::bytes) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  const unsigned clusters = blocks_for(a.rows, group_rows);
  const EarlyLaunch launch{dim3(clusters * Shape::blocks), static_cast<unsigned>(Shape::threads),
                           static_cast<size_t>(Shape::bytes), stream, static_cast<unsigned>(Shape::blocks)};
  if (clusters_at_once(kernel, launch) < clusters) {
    return false;
  }
  launch_early(kernel, launch, maps, a);
  return true;
}

template <typename T>
bool launch_by_rotation(Precision precision, const BetweenArguments& a, cudaStream_t stream) {
  using Shape = BetweenShape<between_width, 2>;
  switch (a.angles == nullptr ? 0 : a.head_width) {
    case 0:
      return launch_between<T, Shape, Plain>(precision, a, stream);
    case 32:
      return launch_between<T, Shape, Rotated<32>>(precision, a, stream);
    case 64:
      return launch_between<T, Shape, Rotated<64>>(precision, a, stream);
    default:
      return false;
  }
}

}  // namespace

bool between(Precision precision, const BetweenArguments& a, cudaStream_t stream) {
  if (a.slices < 1 || a.activation != Activation::gelu || !has_tile_products()) {
    return false;
  }
  switch (precision) {
    case Precision::float32:
      return false;
    case Precision::float16:
      return launch_by_rotation<__half>(precision, a, stream);
    case Precision::bfloat16:
      return launch_by_rotation<__nv_bfloat16>(precision, a, stream);
  }
  return false;
}

}  // namespace demask::kernels::cuda::launch

#else  // a compiler without these instructions

namespace demask::kernels::cuda::launch {

bool between(Precision /*precision*/, const BetweenArguments& /*arguments*/, cudaStream_t /*stream*/) {
  return false;
}

}  // namespace demask::kernels::cuda::launch

#endif
