// Products of many rows that finish in the same kernel what would else be a pass over their result, bias and activation
// or the rotation of heads, while the sums are still in registers. A sum goes through `inner` in one order whatever the
// number of rows and the tile's size, so that a row's bits do not depend on what stands beside it.
#include "kernels/cuda_launch.h"

#ifdef DEMASK_CUDA_TILES
#include <algorithm>
#include <vector>

#include "kernels/cuda_tile_maps.cuh"
#include "kernels/cuda_tile_product_kernel.cuh"
#include "kernels/cuda_wave_product_kernel.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int most_block_bytes = 227 * 1024, reserved_block_bytes = 1024;  // of shared memory

// What of it there is for stages and a kept weight.
template <typename Own>
constexpr int room_bytes = most_block_bytes - tile_alignment - Own::groups* Own::result_bytes -
                           static_cast<int>(sizeof(TileBarriers));

template <typename Own>
constexpr bool keeps(int64_t inner) {
  constexpr int least_stages = 3;
  const int64_t steps = blocks_for(inner, tile_inner);
  return steps <= most_kept_steps && steps * Own::weight_bytes + least_stages * Own::x_bytes <= room_bytes<Own>;
}

template <typename Own>
Tiles divide(const TileProductArguments& a, int& blocks, int& bytes) {
  Tiles tiles{};
  tiles.columns = static_cast<int>(blocks_for(a.outputs, Own::columns));
  tiles.count = tiles.columns * static_cast<int>(blocks_for(a.rows, Own::tile_rows));
  tiles.steps = static_cast<int>(blocks_for(a.inner, tile_inner));
  tiles.adds = a.adds;
  blocks = std::min(tiles.count, multiprocessors());
  tiles.keeps = keeps<Own>(a.inner) && tiles.columns <= blocks;
  if (tiles.keeps) {
    blocks -= blocks % tiles.columns;
  }
  const Room<Own> room{nullptr, tiles};
  tiles.stages = std::min(most_stages, (room_bytes<Own> - room.kept_bytes()) / room.stage_bytes());
  bytes = tile_alignment + Room<Own>{nullptr, tiles}.bytes();
  return tiles;
}

template <typename T, typename Own, typename Finish>
bool launch_tiles(Precision precision, const TileProductArguments& a, const FinishArguments& finish,
                  cudaStream_t stream) {
  CUtensorMap x, weight, out;
  if (!describe_tiles(precision, a.x, a.rows, a.inner, Own::tile_rows, x) ||
      !describe_tiles(precision, a.weight, a.outputs, a.inner, Own::columns, weight) ||
      !describe_tiles(precision, a.out, a.rows, a.outputs, group_rows, out)) {
    return false;
  }
  int blocks = 0, bytes = 0;
  const Tiles tiles = divide<Own>(a, blocks, bytes);
  const auto kernel = tile_product_kernel<T, Own, Finish>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    return false;
  }
  launch_early(kernel, dim3(static_cast<unsigned>(blocks)), Own::threads, static_cast<size_t>(bytes), stream, x, weight,
               out, finish, tiles);
  return true;
}

template <typename Own>
int64_t wave_blocks(const TileProductArguments& a) {
  return static_cast<int64_t>(blocks_for(a.rows, Own::rows)) * blocks_for(a.outputs, Own::columns);
}

// Whether all blocks run at once. Those of several warpgroups are not only latency, so that low tiles must not leave a
// multiprocessor less to multiply.
template <typename Own>
bool takes_one_wave(const TileProductArguments& a) {
  using Low = Division<group_rows>;
  const int64_t low_tiles =
      static_cast<int64_t>(blocks_for(a.rows, Low::tile_rows)) * blocks_for(a.outputs, Low::columns);
  const int64_t of_low = blocks_for(low_tiles, multiprocessors()) * Low::tile_rows * Low::columns;
  return wave_blocks<Own>(a) <= multiprocessors() && (Own::groups == 1 || Own::rows * Own::columns <= of_low);
}

// The most stages for a product of so many steps that so much memory has room for; a result takes a box of each.
template <typename Own>
int wave_stages(int steps, int bytes) {
  int stages = std::min(std::max(steps, Own::boxes), Own::most_stages);
  while (WaveRoom<Own>{nullptr, stages}.bytes() > bytes) {
    --stages;
  }
  return stages;
}

struct WaveMemory {
  int stages, bytes;
};

// Blocks that begin early would share the multiprocessors that the kernels before leave first. Where they are needed
// all, each block takes more shared memory than two have (`alone`). A contraction's blocks, whose stages have to be
// filled again in any case, take hardly more than that, and those of an activation leave as much where it costs them a
// stage at most: so a contraction has its first weights when the expansion before it ends. An activation's blocks of
// two warpgroups have too many registers for two to share a multiprocessor.
template <typename Own, typename Finish>
WaveMemory wave_memory(const TileProductArguments& a) {
  constexpr int alone = most_block_bytes / 2 + 1, beside = most_block_bytes - alone - reserved_block_bytes;
  constexpr int most_ring_stages = 7;
  const auto of_stages = [](int stages) { return WaveMemory{stages, WaveRoom<Own>{nullptr, stages}.bytes()}; };
  const auto steps = static_cast<int>(blocks_for(a.inner, tile_inner));
  const int most = wave_stages<Own>(steps, most_block_bytes), fewer = wave_stages<Own>(steps, beside);
  if (2 * wave_blocks<Own>(a) <= multiprocessors()) {
    return of_stages(most);
  }
  if (Finish::is_activation && Own::groups > 1 && fewer + 1 >= steps) {
    return of_stages(fewer);
  }
  const bool is_contraction = a.inner > a.outputs && most < steps;
  const WaveMemory memory = of_stages(is_contraction ? std::min(most, most_ring_stages) : most);
  return {memory.stages, std::max(memory.bytes, alone)};
}

template <typename T, typename Own, typename Finish>
bool launch_wave(Precision precision, const TileProductArguments& a, const FinishArguments& finish,
                 cudaStream_t stream) {
  CUtensorMap x, weight, out;
  if (!describe_tiles(precision, a.x, a.rows, a.inner, Own::rows, x) ||
      !describe_tiles(precision, a.weight, a.outputs, a.inner, Own::columns, weight) ||
      !describe_tiles(precision, a.out, a.rows, a.outputs, std::min(group_rows, Own::rows), out)) {
    return false;
  }
  const auto [stages, bytes] = wave_memory<Own, Finish>(a);
  const Wave wave{static_cast<int>(blocks_for(a.outputs, Own::columns)),
                  static_cast<int>(blocks_for(a.inner, tile_inner)), stages, a.adds};
  const auto kernel = wave_product_kernel<T, Own, Finish>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    return false;
  }
  launch_early(kernel, dim3(static_cast<unsigned>(wave_blocks<Own>(a))), Own::threads, static_cast<size_t>(bytes),
               stream, x, weight, out, finish, wave);
  return true;
}

// Whether blocks of few rows take a product: only where a block has room for all of its rows and weight at once and no
// more than half of the multiprocessors are needed. More blocks read the weight more often than the L2 cache gives it.
bool takes_low_wave(const TileProductArguments& a) {
  return 2 * wave_blocks<LowDivision>(a) <= multiprocessors() &&
         blocks_for(a.inner, tile_inner) <= LowDivision::most_stages;
}

// Whether one of the divisions, of which the first counts, takes the product; `launched` says whether the driver did.
template <typename T, typename Finish, typename... Own>
bool launch_one_wave(Precision precision, const TileProductArguments& a, const FinishArguments& finish,
                     cudaStream_t stream, bool& launched) {
  const auto take = [&](auto launch) {
    launched = launch(precision, a, finish, stream);
    return true;
  };
  return ((takes_one_wave<Own>(a) && take(launch_wave<T, Own, Finish>)) || ...);
}

// By bench/RESULTS.md: an activation takes so long that tiles, which finish beside products, are faster than large
// blocks. No head is wider than the 64 columns that these finish at once.
template <typename T, typename Finish>
bool launch_any_wave(Precision precision, const TileProductArguments& a, const FinishArguments& finish,
                     cudaStream_t stream, bool& launched) {
  if constexpr (std::is_same_v<Finish, Rotated<2 * tile_inner>>) {
    return false;
  } else if constexpr (Finish::is_activation) {
    return launch_one_wave<T, Finish, WaveDivision<1, 64>, WaveDivision<1, 128>, WaveDivision<1, 192>,
                           WaveDivision<2, 128>>(precision, a, finish, stream, launched);
  } else {
    if constexpr (std::is_same_v<Finish, Plain>) {
      if (takes_low_wave(a)) {
        launched = launch_wave<T, LowDivision, Plain>(precision, a, finish, stream);
        return true;
      }
    }
    return launch_one_wave<T, Finish, WaveDivision<1, 64>, WaveDivision<1, 128>, WaveDivision<1, 192>,
                           WaveDivision<2, 192>, WaveDivision<3, 192>>(precision, a, finish, stream, launched);
  }
}

// Low tiles where tall ones would leave multiprocessors without work.
template <typename T, typename Finish>
bool launch_finishing(Precision precision, const TileProductArguments& a, const FinishArguments& finish,
                      cudaStream_t stream) {
  bool launched = false;
  if (launch_any_wave<T, Finish>(precision, a, finish, stream, launched)) {
    return launched;
  }
  using Tall = Division<2 * group_rows>;
  using Low = Division<group_rows>;
  const int64_t tall_tiles =
      static_cast<int64_t>(blocks_for(a.rows, Tall::tile_rows)) * blocks_for(a.outputs, Tall::columns);
  const bool few = 2 * tall_tiles < 5 * static_cast<int64_t>(multiprocessors());
  return few ? launch_tiles<T, Low, Finish>(precision, a, finish, stream)
             : launch_tiles<T, Tall, Finish>(precision, a, finish, stream);
}

template <typename T>
bool launch_by_finish(Precision precision, const TileProductArguments& a, const FinishArguments& finish,
                      cudaStream_t stream) {
  if (a.activates) {
    switch (a.activation) {
      case Activation::gelu:
        return launch_finishing<T, Activated<Activation::gelu>>(precision, a, finish, stream);
      case Activation::gelu_tanh:
        return launch_finishing<T, Activated<Activation::gelu_tanh>>(precision, a, finish, stream);
      case Activation::silu:
        return launch_finishing<T, Activated<Activation::silu>>(precision, a, finish, stream);
    }
  }
  switch (a.angles == nullptr ? 0 : a.head_width) {
    case 32:
      return launch_finishing<T, Rotated<32>>(precision, a, finish, stream);
    case 64:
      return launch_finishing<T, Rotated<64>>(precision, a, finish, stream);
    case 128:
      return launch_finishing<T, Rotated<128>>(precision, a, finish, stream);
    default:
      return launch_finishing<T, Plain>(precision, a, finish, stream);
  }
}

}  // namespace

bool has_tile_products() {
  static const std::vector<bool> devices = [] {
    int count = 0;
    cudaGetDeviceCount(&count);
    std::vector<bool> have(static_cast<size_t>(count));
    for (int device = 0; device < count; ++device) {
      int major = 0, minor = 0;
      have[static_cast<size_t>(device)] =
          cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
          cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess && major == 9 &&
          minor == 0;
    }
    return have;
  }();
  int device = 0;
  return cudaGetDevice(&device) == cudaSuccess && devices.at(static_cast<size_t>(device)) && map_encoder() != nullptr;
}

bool keeps_weight(int64_t inner) {
  return keeps<Division<2 * group_rows>>(inner);
}

bool tile_product(Precision precision, const TileProductArguments& a, cudaStream_t stream) {
  FinishArguments finish;
  finish.bias = a.bias;
  finish.rows = static_cast<int>(a.rows);
  finish.outputs = static_cast<int>(a.outputs);
  finish.angles = a.angles;
  finish.length = static_cast<int>(a.length);
  finish.rotated = static_cast<int>(a.rotated_heads * a.head_width);
  return precision == Precision::float16 ? launch_by_finish<__half>(precision, a, finish, stream)
                                         : launch_by_finish<__nv_bfloat16>(precision, a, finish, stream);
}

}  // namespace demask::kernels::cuda::launch

#else  // a compiler without these instructions

namespace demask::kernels::cuda::launch {

bool has_tile_products() {
  return false;
}
bool keeps_weight(int64_t /*inner*/) {
  return false;
}
bool tile_product(Precision /*precision*/, const TileProductArguments& /*a*/, cudaStream_t /*stream*/) {
  return false;
}

}  // namespace demask::kernels::cuda::launch

#endif
