// Products of up to eight rows by a cluster of blocks, each of which makes some of the outputs. A thread asks for its
// part of a matrix before the rows are there. Sums are cut as in cuda_rows_tensor.cu.
#pragma once

#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int cluster_rows = tile_rows / 2;
inline constexpr int cluster_results = cluster_rows * tile_outputs;  // of a tile

// A block's part of a product: `outputs` of its columns, a tile at a time by teams of warps that share its sums.
template <int inner_, int outputs_, int warps_>
struct ClusterPart {
  static constexpr int inner = inner_, outputs = outputs_, warps = warps_;
  static constexpr int team_warps = warps_for(inner), teams = warps / team_warps;
  static constexpr int tiles = outputs / tile_outputs, tiles_each = (tiles + teams - 1) / teams;
  static constexpr int blocks_each = inner / values_a_block / team_warps;
  static constexpr int turns = (tiles + warps - 1) / warps;  // tiles that a warp finishes
  static constexpr int slots = tiles_each * blocks_each;     // chunks of the matrix that a thread holds
  static constexpr int stride = static_cast<int>(row_stride(inner));
  static_assert(outputs % tile_outputs == 0 && inner % (values_a_block * team_warps) == 0 && teams > 0);
};

// Sums of each warp for each of its tiles.
using ClusterSums = float (*)[cluster_results];

// A thread's place: it reads and, of a finished tile, has the row lane / 4 and two columns.
struct ClusterThread {
  int lane, warp, row, pair, rank;

  __device__ ClusterThread()
      : lane(static_cast<int>(threadIdx.x) % warp_size),
        warp(static_cast<int>(threadIdx.x) / warp_size),
        row(lane / 4),
        pair(lane % 4 * 2),
        rank(static_cast<int>(blockIdx.x)) {}
};

// What a thread holds of a matrix, in shared memory that it shares with no other.
template <typename T, typename Part>
struct HeldMatrix {
  Bits* slots;  // the thread's first, Part::warps * warp_size apart
  int member, team, lane;

  __device__ HeldMatrix(Bits* room, const ClusterThread& thread)
      : slots(room + threadIdx.x),
        member(thread.warp % Part::team_warps),
        team(thread.warp / Part::team_warps),
        lane(thread.lane) {}

  __device__ int column(int block) const {
    return (member + block * Part::team_warps) * values_a_block + lane % 4 * Chunk<T>::size;
  }
  __device__ Bits* slot(int tile, int block) const {
    return slots + (tile * Part::blocks_each + block) * (Part::warps * warp_size);
  }

  // weight: of the product's first output.
  __device__ void ask(const void* weight, int rank) const {
    const T* own = static_cast<const T*>(weight) + rank * (Part::outputs * Part::inner);
#pragma unroll
    for (int tile = 0; tile < Part::tiles_each; ++tile) {
      const int number = team * Part::tiles_each + tile, output = number * tile_outputs + lane / 4;
#pragma unroll
      for (int block = 0; block < Part::blocks_each; ++block) {
        if (number < Part::tiles) {
          copy_later(own + output * Part::inner + column(block), slot(tile, block));
        }
      }
    }
  }

  // Puts each warp's sums of x [8, inner] into shared memory.
  __device__ void multiply(const T* x, ClusterSums partial) const {
    float sums[Part::tiles_each][tile_values] = {};
#pragma unroll
    for (int block = 0; block < Part::blocks_each; ++block) {
      const Bits own = *reinterpret_cast<const Bits*>(x + lane / 4 * Part::stride + column(block));
#pragma unroll
      for (int tile = 0; tile < Part::tiles_each; ++tile) {
        const Bits matrix = *slot(tile, block);
        multiply_add<T>(sums[tile], own.x, 0, own.y, 0, matrix.x, matrix.y);
        multiply_add<T>(sums[tile], own.z, 0, own.w, 0, matrix.z, matrix.w);
      }
    }
    const ClusterSums to = partial + static_cast<int>(threadIdx.x) / warp_size * Part::tiles_each;
#pragma unroll
    for (int tile = 0; tile < Part::tiles_each; ++tile) {
      to[tile][lane] = sums[tile][0];
      to[tile][warp_size + lane] = sums[tile][1];
    }
  }
};

// A thread's two totals of a tile.
template <typename Part>
__device__ float2 total_of(ClusterSums partial, int tile, int lane) {
  const ClusterSums own =
      partial + tile / Part::tiles_each * Part::team_warps * Part::tiles_each + tile % Part::tiles_each;
  float2 total = {own[0][lane], own[0][warp_size + lane]};
#pragma unroll
  for (int w = 1; w < Part::team_warps; ++w) {
    total.x += own[w * Part::tiles_each][lane];
    total.y += own[w * Part::tiles_each][warp_size + lane];
  }
  return total;
}

// Two neighbouring values, as they lie in memory.
template <typename T>
__device__ float2 read_pair(const void* values, int at) {
  const unsigned bits = *reinterpret_cast<const unsigned*>(static_cast<const T*>(values) + at);
  const T* own = reinterpret_cast<const T*>(&bits);
  return {to_float(own[0]), to_float(own[1])};
}
template <typename T>
__device__ int pair_of(float first, float second) {
  int bits = 0;
  T* own = reinterpret_cast<T*>(&bits);
  own[0] = from_float<T>(first);
  own[1] = from_float<T>(second);
  return bits;
}

// What is added to a thread's totals, for each of its tiles.
template <typename Part>
struct PairAddends {
  float2 values[Part::turns] = {};

  template <typename T>
  __device__ void read(const void* row, bool present, const ClusterThread& thread) {
#pragma unroll
    for (int turn = 0; turn < Part::turns; ++turn) {
      const int tile = thread.warp + turn * Part::warps;
      if (present && tile < Part::tiles) {
        values[turn] = read_pair<T>(row, thread.rank * Part::outputs + tile * tile_outputs + thread.pair);
      }
    }
  }
};

// Calls finish(turn, column, total) for each tile of the thread's warp; column of the product's outputs.
template <typename Part, typename Finish>
__device__ void for_totals(ClusterSums partial, const ClusterThread& thread, Finish finish) {
#pragma unroll
  for (int turn = 0; turn < Part::turns; ++turn) {
    const int tile = thread.warp + turn * Part::warps;
    if (tile < Part::tiles) {
      finish(turn, thread.rank * Part::outputs + tile * tile_outputs, total_of<Part>(partial, tile, thread.lane));
    }
  }
}

// The four words of four neighbouring lanes, sent by them to all blocks of the cluster where `wanted` says so.
template <int blocks>
__device__ void send_to_all(Inbox& inbox, int word, const void* target, bool wanted, int lane) {
  int words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = __shfl_sync(all_lanes, word, lane / 4 * 4 + i);
  }
  if (wanted) {
#pragma unroll
    for (int k = 0; k < blocks / 4; ++k) {
      inbox.send(int4{words[0], words[1], words[2], words[3]}, target, lane % 4 + 4 * k);
    }
  }
}

}  // namespace demask::kernels::cuda::launch
