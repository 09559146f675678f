// The kernel of products whose rows are judged and never written, see kernels/cuda_judged_product.cu. Two blocks that
// take different rows share the weight's tiles: each copies half of one into the shared memory of both (CUTLASS's
// "cooperative" kernels, NVIDIA 2023). The exponentials of one warpgroup's tile run while the other multiplies.
#pragma once

#include <cfloat>

#include "kernels/cuda_cluster_tiles.cuh"
#include "kernels/cuda_softmax.cuh"
#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int judging_groups = 2, judging_blocks = 2;  // warpgroups of a block, blocks of a cluster
inline constexpr int judged_rows = judging_groups * group_rows, judged_columns = 256;  // of a block's tile
inline constexpr int judging_threads = warpgroup_threads * (1 + judging_groups);
inline constexpr int judging_stages = 4;
// Steps by which the first warpgroup is ahead of the second: about what a tile's exponentials take. Less than stages.
inline constexpr int judging_lead = 2, least_judging_steps = judging_stages;
// Columns are summed in so many parts, whatever the number of rows: a row's bits depend on no other.
inline constexpr int judged_parts = 8;

struct JudgedTiles {
  int row_blocks;  // of a cluster's rows
  int columns;     // tiles
  int steps;
  int rows, outputs;
};

struct JudgingBarriers {
  TileBarrier full[judging_stages], empty[judging_stages];
};

struct JudgingRoom {
  static constexpr int x_bytes = judged_rows * tile_row_bytes, weight_bytes = judged_columns * tile_row_bytes;
  static constexpr int stage_bytes = x_bytes + weight_bytes, bytes = judging_stages * stage_bytes;
  char* begin;
  __device__ char* x(int stage) const { return begin + stage * stage_bytes; }
  __device__ char* weight(int stage) const { return x(stage) + x_bytes; }
};

// Calls work(part, first row of the cluster, first and last tile of columns) for each of the cluster's shares. Clusters
// that run at once share columns.
template <typename Work>
__device__ void for_each_share(const JudgedTiles& tiles, const Work& work) {
  const int clusters = static_cast<int>(gridDim.x) / judging_blocks;
  for (int share = static_cast<int>(blockIdx.x) / judging_blocks; share < judged_parts * tiles.row_blocks;
       share += clusters) {
    const int part = share / tiles.row_blocks;
    work(part, share % tiles.row_blocks * judged_rows * judging_blocks, tiles.columns * part / judged_parts,
         tiles.columns * (part + 1) / judged_parts);
  }
}

// One thread's work.
inline __device__ void copy_judged(const JudgingRoom& room, JudgingBarriers& barriers, const JudgedTiles& tiles,
                                   const CUtensorMap& x, const CUtensorMap& weight, int rank) {
  constexpr int half_columns = judged_columns / judging_blocks, half_bytes = JudgingRoom::weight_bytes / judging_blocks;
  Turn turn(0, judging_stages);
  bool first_round = true;
  for_each_share(tiles, [&](int /*part*/, int first_row, int first_column, int end_column) {
    const int row = first_row + rank * judged_rows;
    for (int column = first_column; column < end_column; ++column) {
      for (int step = 0; step < tiles.steps; ++step) {
        if (!first_round) {
          barriers.empty[turn.stage].wait(turn.parity ^ 1);
        }
        TileBarrier& full = barriers.full[turn.stage];
        full.arrive_and_expect(JudgingRoom::stage_bytes);
        load_tile(room.x(turn.stage), x, step * tile_inner, row, full);
        load_tile_for_cluster(room.weight(turn.stage) + rank * half_bytes, weight, step * tile_inner,
                              column * judged_columns + rank * half_columns, full, (1 << judging_blocks) - 1);
        turn.next(judging_stages);
        first_round = first_round && turn.stage != 0;
      }
    }
  });
}

// Tells the copying threads of all the cluster's blocks that a warp has done with a stage.
inline __device__ void leave_stage(TileBarrier& empty) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  if (lane < judging_blocks) {
    arrive_in_cluster(empty, lane);
  }
}

// The sums of a warpgroup's part of a tile.
template <typename T>
__device__ void add_judged(const JudgingRoom& room, JudgingBarriers& barriers, int group, int steps, Turn& turn,
                           float (&sums)[judged_columns / 2]) {
  constexpr int at_once = 16;
  if (group == 1) {
    wait_for_threads(1, judging_groups * warpgroup_threads);
  }
  int last_stage = 0;
  for (int step = 0; step < steps; ++step) {
    barriers.full[turn.stage].wait(turn.parity);
    const uint64_t x = tile_of(room.x(turn.stage) + group * box_bytes), weight = tile_of(room.weight(turn.stage));
    begin_products();
#pragma unroll
    for (int k = 0; k < tile_inner / at_once; ++k) {
      const int bytes = k * at_once * static_cast<int>(sizeof(T));
      multiply_tiles<T>(sums, further(x, bytes), further(weight, bytes), step + k > 0 ? 1 : 0);
    }
    end_group_of_products();
    if (step > 0) {
      wait_for_products<1>();
      leave_stage(barriers.empty[last_stage]);
    }
    if (group == 0 && step == judging_lead) {
      arrive_at_threads(1, judging_groups * warpgroup_threads);
    }
    last_stage = turn.stage;
    turn.next(judging_stages);
  }
  wait_for_products<0>();
  leave_stage(barriers.empty[last_stage]);
}

// The softmax's denominator of the columns of a row that a thread has seen, and the token's logit where it is there.
struct JudgedRow {
  int row;
  int64_t token;
  float largest = -FLT_MAX, total = 0;

  __device__ JudgedRow(const JudgedTiles& tiles, const int64_t* tokens, int own)
      : row(own), token(own < tiles.rows ? tokens[own] : -1) {}

  // Of a thread's sums those of its upper or, `below`, of its lower row.
  template <int below, int size>
  __device__ void add(const float (&sums)[size]) {
    constexpr float log2_e = 1.4426950408889634F;
    float most = largest;
#pragma unroll
    for (int j = 0; j < size / 4; ++j) {
      most = fmaxf(most, fmaxf(sums[4 * j + 2 * below], sums[4 * j + 2 * below + 1]));
    }
    float even = 0, odd = 0;
#pragma unroll
    for (int j = 0; j < size / 4; ++j) {
      even += exp2_of((sums[4 * j + 2 * below] - most) * log2_e);
      odd += exp2_of((sums[4 * j + 2 * below + 1] - most) * log2_e);
    }
    total = fmaf(total, exp2_of((largest - most) * log2_e), even + odd);
    largest = most;
  }

  // `column`: the thread's first.
  template <int below, int size>
  __device__ void keep_token(const float (&sums)[size], int column, float* logits) const {
    const auto at = static_cast<int>(min(max(token - column, int64_t{-1}), int64_t{2 * size}));
    if (__any_sync(all_lanes, at >= 0 && at < 2 * size)) {
      float logit = 0;
#pragma unroll
      for (int j = 0; j < size / 4; ++j) {
        take_where(at == 8 * j, sums[4 * j + 2 * below], logit);
        take_where(at == 8 * j + 1, sums[4 * j + 2 * below + 1], logit);
      }
      if (at >= 0 && at < 2 * size && at % 8 < 2) {
        logits[row] = logit;
      }
    }
  }

  __device__ float2 merged() const {  // of the four threads that share the row
    float most = largest;
    most = fmaxf(most, __shfl_xor_sync(all_lanes, most, 1));
    most = fmaxf(most, __shfl_xor_sync(all_lanes, most, 2));
    float sum = total * expf(largest - most);
    sum += __shfl_xor_sync(all_lanes, sum, 1);
    sum += __shfl_xor_sync(all_lanes, sum, 2);
    return {most, sum};
  }

 private:
  // Opaque, or the compiler moves all sums to memory for the one.
  static __device__ void take_where(bool condition, float x, float& out) {
    asm volatile("{\n.reg .pred takes;\nsetp.ne.s32 takes, %2, 0;\nselp.f32 %0, %1, %0, takes;\n}"
                 : "+f"(out)
                 : "f"(x), "r"(static_cast<int>(condition)));
  }
  static __device__ float exp2_of(float x) {
    float out;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
    return out;
  }
};

// Columns behind the last count for nothing.
template <int size>
__device__ void leave_out(float (&sums)[size], int column, int outputs) {
#pragma unroll
  for (int j = 0; j < size / 4; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (column + 8 * j + i % 2 >= outputs) {
        sums[4 * j + i] = -INFINITY;
      }
    }
  }
}

// parts [rows, judged_parts]: largest logit, and sum of exp(logit - largest).
template <typename T>
__device__ void judge_tiles(const JudgingRoom& room, JudgingBarriers& barriers, const JudgedTiles& tiles, int rank,
                            int group, const int64_t* tokens, float2* parts, float* logits) {
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads, lane = thread % warp_size;
  Turn turn(0, judging_stages);
  for_each_share(tiles, [&](int part, int first_row, int first_column, int end_column) {
    const int row = first_row + rank * judged_rows + group * group_rows + thread / warp_size * 16 + lane / 4;
    JudgedRow upper(tiles, tokens, row), lower(tiles, tokens, row + 8);
    for (int tile = first_column; tile < end_column; ++tile) {
      const int column = tile * judged_columns, own_column = column + lane % 4 * 2;
      float sums[judged_columns / 2];
      add_judged<T>(room, barriers, group, tiles.steps, turn, sums);
      if (column + judged_columns > tiles.outputs) {
        leave_out(sums, own_column, tiles.outputs);
      }
      upper.keep_token<0>(sums, own_column, logits);
      lower.keep_token<1>(sums, own_column, logits);
      upper.add<0>(sums);
      lower.add<1>(sums);
    }
    const float2 above = upper.merged(), below = lower.merged();
    if (lane % 4 == 0 && upper.row < tiles.rows) {
      parts[static_cast<int64_t>(upper.row) * judged_parts + part] = above;
    }
    if (lane % 4 == 0 && lower.row < tiles.rows) {
      parts[static_cast<int64_t>(lower.row) * judged_parts + part] = below;
    }
  });
}

template <typename T>
__global__ void __launch_bounds__(judging_threads, 1)
    judged_product_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap weight,
                          JudgedTiles tiles, const int64_t* tokens, float2* parts, float* logits) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  __shared__ JudgingBarriers barriers;
  const JudgingRoom room{shared};
  const int rank = static_cast<int>(blockIdx.x) % judging_blocks;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < judging_stages; ++stage) {
      barriers.full[stage].start(1);
      barriers.empty[stage].start(judging_blocks * judging_groups * warpgroup_warps);
    }
    fence_barriers();
  }
  arrive_at_cluster();
  wait_for_cluster();
  const int group = static_cast<int>(threadIdx.x) / warpgroup_threads;
  if (group == 0) {
    give_registers<Division<128>::copying_registers>();
    if (threadIdx.x == 0) {
      copy_judged(room, barriers, tiles, x, weight, rank);
    }
  } else {
    take_registers<Division<128>::multiplying_registers>();
    judge_tiles<T>(room, barriers, tiles, rank, group - 1, tokens, parts, logits);
  }
  // The other block may still write into this one's memory.
  __syncwarp();
  arrive_at_cluster();
  wait_for_cluster();
#endif
}

}  // namespace demask::kernels::cuda::launch
