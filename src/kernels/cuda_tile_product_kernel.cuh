// The kernel of products that finish their rows, see kernels/cuda_tile_products.cu. The division of work is that of
// CUTLASS's "ping-pong" kernels (NVIDIA, 2023); that a block keeps its weight is for the narrow models here.
#pragma once

#include "kernels/cuda_early.cuh"
#include "kernels/cuda_finish.cuh"
#include "kernels/cuda_tiles.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int warpgroup_threads = 128, warpgroup_warps = warpgroup_threads / warp_size;
inline constexpr int group_rows = 64;  // that a warpgroup's instruction multiplies
inline constexpr int box_bytes = group_rows * tile_row_bytes;
// More stages than these made every measured shape slower.
inline constexpr int most_stages = 6, most_kept_steps = 8;
inline constexpr int tile_alignment = 1024;

// A block is one warpgroup that copies and two that multiply and finish, each a tile of its own in turns: while one
// multiplies, the other finishes. (Four, with lower tiles, took 5 to 15% longer.)
template <int rows>
struct Division {
  static constexpr int tile_rows = rows, columns = 128, groups = 2;
  static constexpr int threads = warpgroup_threads * (1 + groups);
  static constexpr int copying_registers = 40, multiplying_registers = 232;
  static constexpr int x_bytes = tile_rows * tile_row_bytes, weight_bytes = columns * tile_row_bytes;  // a step
  static constexpr int result_bytes = columns / tile_inner * box_bytes;                                // of 64 rows
};

struct TileBarriers {
  TileBarrier full[most_stages], empty[most_stages];
  TileBarrier weight[most_kept_steps];
  // Of each warpgroup that multiplies: all steps of its tile were there. The other's begin behind them, and a barrier
  // tells only one phase from the next.
  TileBarrier read[2];
};

// Tiles are numbered row by row; a block takes every gridDim.x-th. Where a block's tiles are of the same columns and
// the weight's fits, the block keeps it (`keeps`): what is copied from the L2 cache is what bounds these products.
struct Tiles {
  int count, columns, steps, stages;
  bool keeps;
  bool adds;  // the result to what stands in `out`
};

// The stages of a ring in turns.
struct Turn {
  int stage, parity;
  __device__ Turn(int step, int stages) : stage(step % stages), parity(step / stages & 1) {}
  __device__ void next(int stages) {
    if (++stage == stages) {
      next_round();
    }
  }
  __device__ void next_round() {
    stage = 0;
    parity ^= 1;
  }
};

// Shared memory: the stages, the kept weight, a result for each multiplying warpgroup.
template <typename Own>
struct Room {
  char* begin;
  Tiles tiles;
  __host__ __device__ int stage_bytes() const { return Own::x_bytes + (tiles.keeps ? 0 : Own::weight_bytes); }
  __host__ __device__ int kept_bytes() const { return tiles.keeps ? tiles.steps * Own::weight_bytes : 0; }
  __host__ __device__ int bytes() const {
    return tiles.stages * stage_bytes() + kept_bytes() + Own::groups * Own::result_bytes;
  }
  __device__ char* x(int stage) const { return begin + stage * stage_bytes(); }
  __device__ char* weight(int stage, int step) const {
    return tiles.keeps ? begin + tiles.stages * stage_bytes() + step * Own::weight_bytes : x(stage) + Own::x_bytes;
  }
  __device__ char* result(int group) const {
    return begin + tiles.stages * stage_bytes() + kept_bytes() + group * Own::result_bytes;
  }
};

// Copies the tiles of x and of the weight into the stages, a block's tiles one after the other: a whole warp's work.
template <typename Own>
__device__ void copy_tiles(const Room<Own>& room, TileBarriers& barriers, const CUtensorMap& x,
                           const CUtensorMap& weight) {
  const Tiles& tiles = room.tiles;
  Turn turn(0, tiles.stages);
  bool first_round = true;
  for (int tile = static_cast<int>(blockIdx.x); tile < tiles.count; tile += static_cast<int>(gridDim.x)) {
    const bool first_tile = tile == static_cast<int>(blockIdx.x);
    const int row = tile / tiles.columns * Own::tile_rows, column = tile % tiles.columns * Own::columns;
    for (int step = 0; step < tiles.steps; ++step) {
      if (!first_round) {
        barriers.empty[turn.stage].wait(turn.parity ^ 1);
      }
      TileBarrier& full = barriers.full[turn.stage];
      TileBarrier& weight_there = tiles.keeps ? barriers.weight[step] : full;
      if (speaks_for_warp()) {
        if (!tiles.keeps) {
          full.arrive_and_expect(Own::x_bytes + Own::weight_bytes);
        } else {
          full.arrive_and_expect(Own::x_bytes);
          if (first_tile) {
            weight_there.arrive_and_expect(Own::weight_bytes);
          }
        }
        if (!tiles.keeps || first_tile) {
          load_tile(room.weight(turn.stage, step), weight, step * tile_inner, column, weight_there);
        }
      }
      if (first_tile && step == 0) {
        wait_for_kernels_before();  // they may still write x, and never a weight
      }
      if (speaks_for_warp()) {
        load_tile(room.x(turn.stage), x, step * tile_inner, row, full);
      }
      turn.next(tiles.stages);
      first_round = first_round && turn.stage != 0;
    }
  }
}

// The sums of one of the block's tiles, before which it has so many others. Where a step's tiles lie is carried from
// one step to the next: so the compiler keeps it in the registers that the multiplying instruction reads, rather than
// to work it out when the products before have ended.
template <typename T, typename Own>
__device__ void add_tile(const Room<Own>& room, TileBarriers& barriers, TileBarrier& read, int before,
                         float (&sums)[Own::tile_rows / group_rows][Own::columns / 2]) {
  constexpr int at_once = 16;
  const bool speaks = threadIdx.x % warp_size == 0;
  const bool keeps = room.tiles.keeps, waits_for_weight = keeps && before < Own::groups;
  const int steps = room.tiles.steps, stages = room.tiles.stages;
  const uint64_t x_further = room.stage_bytes() / tile_unit_bytes;
  const uint64_t weight_further = keeps ? Own::weight_bytes / tile_unit_bytes : x_further;
  Turn turn(before * steps, stages);
  int last_stage = 0;
#pragma unroll 1
  for (int done = 0; done < steps;) {
    const int until = min(stages, turn.stage + steps - done);
    uint64_t x = tile_of(room.x(turn.stage)), weight = tile_of(room.weight(turn.stage, done));
#pragma unroll 1
    for (int stage = turn.stage; stage < until; ++stage, ++done) {
      barriers.full[stage].wait(turn.parity);
      if (waits_for_weight) {
        barriers.weight[done].wait(0);
      }
      begin_products();
#pragma unroll
      for (int k = 0; k < tile_inner / at_once; ++k) {
        const int bytes = k * at_once * static_cast<int>(sizeof(T));
#pragma unroll
        for (int rows = 0; rows < Own::tile_rows / group_rows; ++rows) {
          multiply_tiles<T>(sums[rows], further(x, bytes + rows * box_bytes), further(weight, bytes),
                            done + k > 0 ? 1 : 0);
        }
      }
      end_group_of_products();
      x += x_further;
      weight += weight_further;
      if (done > 0) {
        wait_for_products<1>();
        if (speaks) {
          barriers.empty[last_stage].arrive();
        }
      }
      last_stage = stage;
    }
    turn.next_round();
  }
  if (speaks) {
    read.arrive();
  }
  wait_for_products<0>();
  if (speaks) {
    barriers.empty[last_stage].arrive();
  }
}

// Rounds 64 rows of sums into shared memory, in boxes of 64 columns as the copy engine wants them.
template <typename T, int columns>
__device__ void round_sums(char* result, const float (&sums)[columns / 2]) {
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads, lane = thread % warp_size;
  const int row = thread / warp_size * 16 + lane / 4;
#pragma unroll
  for (int j = 0; j < columns / 8; ++j) {
    const int chunk = (j % 8 ^ row % 8) * static_cast<int>(bytes_at_once);
    char* to =
        result + j / 8 * box_bytes + row * tile_row_bytes + chunk + lane % 4 * static_cast<int>(sizeof(uint32_t));
    *reinterpret_cast<uint32_t*>(to) = round_pair<T>(sums[4 * j], sums[4 * j + 1]);
    *reinterpret_cast<uint32_t*>(to + 8 * tile_row_bytes) = round_pair<T>(sums[4 * j + 2], sums[4 * j + 3]);
  }
}

// Writes 64 rows of sums through a warpgroup's part of the shared memory.
template <typename T, int columns>
__device__ void write_sums(char* result, const CUtensorMap& out, bool adds, int group, int row, int column,
                           const float (&sums)[columns / 2]) {
  const bool copies = threadIdx.x % warpgroup_threads == 0;
  if (copies) {
    wait_for_stores();
  }
  wait_for_threads(1 + group, warpgroup_threads);
  round_sums<T, columns>(result, sums);
  fence_shared_for_copies();
  wait_for_threads(1 + group, warpgroup_threads);
  if (copies) {
    for (int box = 0; box < columns / tile_inner; ++box) {
      const char* from = result + box * box_bytes;
      if (adds) {
        add_stored_tile(out, column + box * tile_inner, row, from);
      } else {
        store_tile(out, column + box * tile_inner, row, from);
      }
    }
    end_group_of_stores();
  }
}

// Every second tile of the block's.
template <typename T, typename Own, typename Finish>
__device__ void multiply_and_finish(const Room<Own>& room, TileBarriers& barriers, const CUtensorMap& out,
                                    const FinishArguments& arguments, int group) {
  constexpr int groups_of_rows = Own::tile_rows / group_rows, columns = Own::columns;
  const Tiles& tiles = room.tiles;
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads, lane = thread % warp_size;
  const int own_row = thread / warp_size * 16 + lane / 4, own_column = lane % 4 * 2;
  const int blocks = static_cast<int>(gridDim.x);
  float sums[groups_of_rows][columns / 2];
  int before = group;
  for (int tile = static_cast<int>(blockIdx.x) + group * blocks; tile < tiles.count;
       tile += Own::groups * blocks, before += Own::groups) {
    const int row = tile / tiles.columns * Own::tile_rows, column = tile % tiles.columns * Own::columns;
    const ColumnBias<T, columns> bias(arguments, column + own_column);
    if (before > 0) {
      barriers.read[(group + Own::groups - 1) % Own::groups].wait((before - 1) / Own::groups & 1);
    }
    add_tile<T>(room, barriers, barriers.read[group], before, sums);
#pragma unroll
    for (int rows = 0; rows < groups_of_rows; ++rows) {
      bias.add_to(sums[rows]);
      const typename Finish::Operands operands(arguments, row + rows * group_rows + own_row, column + own_column);
      Finish::template finish<columns>(arguments, operands, column + own_column, sums[rows]);
      write_sums<T, columns>(room.result(group), out, tiles.adds, group, row + rows * group_rows, column, sums[rows]);
    }
  }
  if (thread == 0) {
    wait_for_stores();
  }
}

template <typename T, typename Own, typename Finish>
__global__ void __launch_bounds__(Own::threads, 1)
    tile_product_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap weight,
                        const __grid_constant__ CUtensorMap out, FinishArguments arguments, Tiles tiles) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ char unaligned[];
  __shared__ TileBarriers barriers;
  char* begin = unaligned + (tile_alignment - shared_address(unaligned) % tile_alignment) % tile_alignment;
  const Room<Own> room{begin, tiles};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < tiles.stages; ++stage) {
      barriers.full[stage].start(1);
      barriers.empty[stage].start(warpgroup_warps);
    }
    for (TileBarrier& there : barriers.weight) {
      there.start(1);
    }
    for (int group = 0; group < Own::groups; ++group) {
      barriers.read[group].start(warpgroup_warps);
    }
    fence_barriers();
  }
  __syncthreads();
  let_next_begin();
  const int warp = number_of_warp(), group = warp / warpgroup_warps;
  if (group == 0) {
    give_registers<Own::copying_registers>();
    if (warp == 0) {
      copy_tiles(room, barriers, x, weight);
    }
  } else {
    take_registers<Own::multiplying_registers>();
    multiply_and_finish<T, Own, Finish>(room, barriers, out, arguments, group - 1);
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
