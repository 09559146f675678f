// The kernel of products of a few rows by a wide matrix, see kernels/cuda_stream_products.cu: reading the matrix is all
// that they take, so that it is on its way from the first to the last moment, and that of the next product behind it.
#pragma once

#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int most_stream_rows = group_rows, most_stream_stages = 16;
// Of a step, so that one wait serves two boxes.
inline constexpr int stream_boxes = 2, stream_inner = stream_boxes * tile_inner;
inline constexpr int stream_threads = warpgroup_threads + warp_size;  // one warp copies

// Block b takes every gridDim.x-th tile of columns from the b-th on, with all rows.
struct Stream {
  int tiles, steps, stages;
  int rows, outputs;
  int row_box;  // rows that are copied; the product takes 64, of which the others are never written
  int ahead;    // steps beyond the stages whose weight is asked for in the L2 cache at the beginning
};

struct StreamBarriers {
  TileBarrier full[most_stream_stages], empty[most_stream_stages];
};

template <int columns>
struct StreamRoom {
  static constexpr int weight_box_bytes = columns * tile_row_bytes, weight_bytes = stream_boxes * weight_box_bytes;
  char* begin;
  Stream stream;
  // Room for all 64 rows behind the last stage, as the product reads them.
  __host__ __device__ int x_box_bytes() const { return stream.row_box * tile_row_bytes; }
  __host__ __device__ int stage_bytes() const { return weight_bytes + stream_boxes * x_box_bytes(); }
  __host__ __device__ int bytes() const { return stream.stages * stage_bytes() + box_bytes - x_box_bytes(); }
  __device__ char* weight(int stage, int box) const { return begin + stage * weight_bytes + box * weight_box_bytes; }
  __device__ char* x(int stage, int box) const {
    return begin + stream.stages * weight_bytes + (stage * stream_boxes + box) * x_box_bytes();
  }
  // Whole warps' work: a stage's bytes are announced with its weight.
  __device__ void copy_weight(const CUtensorMap& weight_map, int stage, int step, int column, TileBarrier& full) const {
    if (speaks_for_warp()) {
      full.arrive_and_expect(static_cast<uint32_t>(stage_bytes()));
#pragma unroll
      for (int box = 0; box < stream_boxes; ++box) {
        load_tile(weight(stage, box), weight_map, step * stream_inner + box * tile_inner, column, full);
      }
    }
  }
  __device__ void copy_x(const CUtensorMap& x_map, int stage, int step, TileBarrier& full) const {
    if (speaks_for_warp()) {
#pragma unroll
      for (int box = 0; box < stream_boxes; ++box) {
        load_tile(x(stage, box), x_map, step * stream_inner + box * tile_inner, 0, full);
      }
    }
  }
};

// A whole warp's work. The next kernel may begin when nothing is left to ask for.
template <int columns>
__device__ void copy_stream(const StreamRoom<columns>& room, StreamBarriers& barriers, const CUtensorMap& x,
                            const CUtensorMap& weight) {
  const Stream& stream = room.stream;
  const int first = static_cast<int>(blockIdx.x) * columns;
  const int early = min(stream.steps, stream.stages);
  for (int step = 0; step < early; ++step) {
    room.copy_weight(weight, step, step, first, barriers.full[step]);
  }
  for (int step = early; step < min(stream.steps, early + stream.ahead); ++step) {
    if (speaks_for_warp()) {
#pragma unroll
      for (int box = 0; box < stream_boxes; ++box) {
        prefetch_tile(weight, step * stream_inner + box * tile_inner, first);
      }
    }
  }
  prefetch_map(x);
  wait_for_kernels_before();
  for (int step = 0; step < early; ++step) {
    room.copy_x(x, step, step, barriers.full[step]);
  }
  Turn turn(early, stream.stages);
  bool first_round = early < stream.stages;
  int step = early;
  for (int tile = static_cast<int>(blockIdx.x); tile < stream.tiles; tile += static_cast<int>(gridDim.x)) {
    for (; step < stream.steps; ++step) {
      if (!first_round) {
        barriers.empty[turn.stage].wait(static_cast<uint32_t>(turn.parity ^ 1));
      }
      TileBarrier& full = barriers.full[turn.stage];
      room.copy_weight(weight, turn.stage, step, tile * columns, full);
      room.copy_x(x, turn.stage, step, full);
      turn.next(stream.stages);
      first_round = first_round && turn.stage != 0;
    }
    step = 0;
  }
  let_next_begin();
}

// The sums of a tile; `turn` goes on from tile to tile. Where a step's boxes lie is carried on, as add_tile does.
template <typename T, int columns>
__device__ void add_stream(const StreamRoom<columns>& room, StreamBarriers& barriers, Turn& turn,
                           float (&sums)[columns / 2]) {
  const bool speaks = threadIdx.x % warp_size == 0;
  const int steps = room.stream.steps, stages = room.stream.stages;
  const uint64_t next_x_box = room.x_box_bytes() / tile_unit_bytes;
  constexpr uint64_t next_weight_box = room.weight_box_bytes / tile_unit_bytes;
  int last_stage = 0;
#pragma unroll 1
  for (int done = 0; done < steps;) {
    const int until = min(stages, turn.stage + steps - done);
    uint64_t x = tile_of(room.x(turn.stage, 0)), weight = tile_of(room.weight(turn.stage, 0));
#pragma unroll 1
    for (; turn.stage < until; ++turn.stage, ++done) {
      barriers.full[turn.stage].wait(static_cast<uint32_t>(turn.parity));
      begin_products();
#pragma unroll
      for (int box = 0; box < stream_boxes; ++box, x += next_x_box, weight += next_weight_box) {
        multiply_boxes<T>(sums, x, weight, done + box > 0);
      }
      end_group_of_products();
      if (done > 0) {
        wait_for_products<1>();
        if (speaks) {
          barriers.empty[last_stage].arrive();
        }
      }
      last_stage = turn.stage;
    }
    if (turn.stage == stages) {
      turn.next_round();
    }
  }
  wait_for_products<0>();
  if (speaks) {
    barriers.empty[last_stage].arrive();
  }
}

// Two neighbouring values of a row, where that and their columns exist.
template <typename T>
__device__ void write_pair(const Stream& stream, T* out, int row, int column, float first, float second) {
  if (row < stream.rows && column < stream.outputs) {
    *reinterpret_cast<uint32_t*>(out + static_cast<int64_t>(row) * stream.outputs + column) =
        round_pair<T>(first, second);
  }
}

template <typename T, int columns>
__global__ void __launch_bounds__(stream_threads)
    stream_product_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap weight, T* out,
                          FinishArguments arguments, Stream stream) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  __shared__ StreamBarriers barriers;
  const StreamRoom<columns> room{shared, stream};
  const int thread = static_cast<int>(threadIdx.x);
  const bool copies = number_of_warp() == warpgroup_warps;
  if (copies && speaks_for_warp()) {
    for (int stage = 0; stage < stream.stages; ++stage) {
      barriers.full[stage].start(1);
      barriers.empty[stage].start(warpgroup_warps);
    }
    fence_barriers();
  }
  __syncthreads();
  if (copies) {
    copy_stream(room, barriers, x, weight);
    return;
  }
  wait_for_kernels_before();  // what it writes may still be read
  const int lane = thread % warp_size, row = thread / warp_size * 16 + lane / 4;
  Turn turn(0, stream.stages);
  for (int tile = static_cast<int>(blockIdx.x); tile < stream.tiles; tile += static_cast<int>(gridDim.x)) {
    const int column = tile * columns + lane % 4 * 2;
    const ColumnBias<T, columns> bias(arguments, column);
    float sums[columns / 2];
    add_stream<T, columns>(room, barriers, turn, sums);
    bias.add_to(sums);
#pragma unroll
    for (int j = 0; j < columns / 8; ++j) {
      write_pair(stream, out, row, column + 8 * j, sums[4 * j], sums[4 * j + 1]);
      write_pair(stream, out, row + 8, column + 8 * j, sums[4 * j + 2], sums[4 * j + 3]);
    }
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
