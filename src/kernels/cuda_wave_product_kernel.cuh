// The kernel of products so small that all their blocks run at once: there the latency of a block is what they take. A
// block asks for its weight before the kernels before it have ended and for its rows at once then, and each of its
// warpgroups multiplies them by 64 columns of its own and finishes the result.
#pragma once

#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int wave_columns = 64;  // of a warpgroup
inline constexpr int most_wave_groups = 3, most_wave_stages = 12;
// One more warp copies.
constexpr int wave_threads(int groups) {
  return groups * warpgroup_threads + warp_size;
}
struct WaveBarriers {
  TileBarrier full[most_wave_stages], empty[most_wave_stages];
};

// Block b takes the b % columns-th `groups` x 64 columns of the b / columns-th 64 rows.
struct Wave {
  int groups, columns, steps, stages;
  bool adds;  // the result to what stands in `out`
};

// Shared memory: the stages of x, those of the weight, the barriers. A stage of the weight has a box for each
// warpgroup, and those of the first stage take the results.
struct WaveRoom {
  char* begin;
  Wave wave;
  __host__ __device__ int weight_bytes() const { return wave.groups * box_bytes; }
  __host__ __device__ int stage_bytes() const { return box_bytes + weight_bytes(); }
  __host__ __device__ int bytes() const { return wave.stages * stage_bytes() + static_cast<int>(sizeof(WaveBarriers)); }
  __device__ char* x(int stage) const { return begin + stage * box_bytes; }
  __device__ char* weight(int stage) const { return x(wave.stages) + stage * weight_bytes(); }
  __device__ WaveBarriers& barriers() const { return *reinterpret_cast<WaveBarriers*>(weight(wave.stages)); }
};

// One thread's work.
inline __device__ void copy_wave(const WaveRoom& room, const CUtensorMap& x, const CUtensorMap& weight, int row,
                                 int column) {
  const Wave& wave = room.wave;
  WaveBarriers& barriers = room.barriers();
  const int early = min(wave.steps, wave.stages);
  for (int step = 0; step < early; ++step) {
    barriers.full[step].arrive_and_expect(room.stage_bytes());
    load_tile(room.weight(step), weight, step * tile_inner, column, barriers.full[step]);
  }
  prefetch_map(x);
  wait_for_kernels_before();
  for (int step = 0; step < early; ++step) {
    load_tile(room.x(step), x, step * tile_inner, row, barriers.full[step]);
  }
  for (int step = early; step < wave.steps; ++step) {
    const Turn turn(step, wave.stages);
    TileBarrier& full = barriers.full[turn.stage];
    barriers.empty[turn.stage].wait(turn.parity ^ 1);
    full.arrive_and_expect(room.stage_bytes());
    load_tile(room.weight(turn.stage), weight, step * tile_inner, column, full);
    load_tile(room.x(turn.stage), x, step * tile_inner, row, full);
  }
}

// The barriers of threads beyond those of write_sums.
inline constexpr int turn_barrier = most_wave_groups;

// A warpgroup's sums.
template <typename T>
__device__ void add_wave(const WaveRoom& room, int group, float (&sums)[wave_columns / 2]) {
  constexpr int at_once = 16;
  const Wave& wave = room.wave;
  const bool refills = wave.steps > wave.stages, speaks = threadIdx.x % warp_size == 0;
  WaveBarriers& barriers = room.barriers();
  Turn turn(0, wave.stages);
  int last_stage = 0;
  for (int step = 0; step < wave.steps; ++step) {
    barriers.full[turn.stage].wait(turn.parity);
    const uint64_t x = tile_of(room.x(turn.stage)), weight = tile_of(room.weight(turn.stage) + group * box_bytes);
    begin_products();
#pragma unroll
    for (int k = 0; k < tile_inner / at_once; ++k) {
      const int bytes = k * at_once * static_cast<int>(sizeof(T));
      multiply_tiles<T>(sums, further(x, bytes), further(weight, bytes), step + k > 0 ? 1 : 0);
    }
    end_group_of_products();
    if (refills && step > 0) {
      wait_for_products<1>();
      if (speaks) {
        barriers.empty[last_stage].arrive();
      }
    }
    last_stage = turn.stage;
    turn.next(wave.stages);
  }
}

template <typename T, typename Finish>
__device__ void multiply_wave(const WaveRoom& room, const CUtensorMap& out, const FinishArguments& arguments, int row,
                              int column) {
  const Wave& wave = room.wave;
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads, lane = thread % warp_size;
  const int group = static_cast<int>(threadIdx.x) / warpgroup_threads;
  const int own_row = row + thread / warp_size * 16 + lane / 4, first_column = column + group * wave_columns;
  const int own_column = first_column + lane % 4 * 2;
  const ColumnBias<T, wave_columns> bias(arguments, own_column);
  const typename Finish::Operands operands(arguments, own_row, own_column);
  // One warpgroup multiplies while those before it finish, unless all have to use a stage before it is filled again.
  const bool in_turns = wave.steps <= wave.stages;
  if (in_turns && group > 0) {
    wait_for_threads(turn_barrier + group, 2 * warpgroup_threads);
  }
  float sums[wave_columns / 2];
  add_wave<T>(room, group, sums);
  if (in_turns && group + 1 < wave.groups) {
    arrive_at_threads(turn_barrier + group + 1, 2 * warpgroup_threads);
  }
  wait_for_products<0>();
  bias.add_to(sums);
  Finish::template finish<wave_columns>(arguments, operands, own_column, sums);
  write_sums<T, wave_columns>(room.weight(0) + group * box_bytes, out, wave.adds, group, row, first_column, sums);
  if (thread == 0) {
    wait_for_stores();
  }
}

template <typename T, typename Finish>
__global__ void __launch_bounds__(wave_threads(most_wave_groups) + wave_threads(1), 1)
    wave_product_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap weight,
                        const __grid_constant__ CUtensorMap out, FinishArguments arguments, Wave wave) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  let_next_begin();
  const WaveRoom room{shared, wave};
  const int threads = wave.groups * warpgroup_threads, copier = threads;
  if (threadIdx.x == copier) {
    for (int stage = 0; stage < wave.stages; ++stage) {
      room.barriers().full[stage].start(1);
      room.barriers().empty[stage].start(threads / warp_size);
    }
    fence_barriers();
  }
  __syncthreads();
  const int row = static_cast<int>(blockIdx.x) / wave.columns * group_rows;
  const int column = static_cast<int>(blockIdx.x) % wave.columns * wave.groups * wave_columns;
  if (threadIdx.x < threads) {
    multiply_wave<T, Finish>(room, out, arguments, row, column);
  } else if (threadIdx.x == copier) {
    copy_wave(room, x, weight, row, column);
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
