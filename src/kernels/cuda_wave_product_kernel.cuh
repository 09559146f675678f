// The kernel of products so small that all their blocks run at once. There the latency of a block is what they take, so
// it asks for its weight before the kernels before it have ended and for its rows at once then. A warpgroup multiplies
// 64 rows of its own by all of the block's columns: broad instructions read least from shared memory for a product.
#pragma once

#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

// One more warp copies, or where its registers are needed, a thread of those that multiply.
template <int own_groups, int own_columns>
struct WaveDivision {
  static constexpr int groups = own_groups, columns = own_columns, rows = groups * group_rows;
  static constexpr bool copies_itself = groups == 3;
  static constexpr int threads = groups * warpgroup_threads + (copies_itself ? 0 : warp_size);
  static constexpr int copier = copies_itself ? 0 : groups * warpgroup_threads;
  static constexpr int x_bytes = groups * box_bytes, weight_bytes = columns * tile_row_bytes;  // a step
  static constexpr int boxes = columns / tile_inner;
};

inline constexpr int most_wave_stages = 12;

// Block b takes the b % columns-th columns of the b / columns-th rows.
struct Wave {
  int columns, steps, stages;
  bool adds;  // the result to what stands in `out`
};

struct WaveBarriers {
  TileBarrier full[most_wave_stages], empty[most_wave_stages];
};
// Two columns' bias for each thread of a warpgroup.
struct WaveBias {
  uint32_t pairs[warpgroup_threads];
};

// Shared memory: the stages of x, those of the weight, barriers, bias. Results take the place of the first stages.
template <typename Own>
struct WaveRoom {
  static constexpr int stage_bytes = Own::x_bytes + Own::weight_bytes;
  char* begin;
  int stages;
  __host__ __device__ int bytes() const {
    return stages * stage_bytes + static_cast<int>(sizeof(WaveBarriers) + Own::groups * sizeof(WaveBias));
  }
  __device__ char* x(int stage) const { return begin + stage * Own::x_bytes; }
  __device__ char* weight(int stage) const { return x(stages) + stage * Own::weight_bytes; }
  __device__ WaveBarriers& barriers() const { return *reinterpret_cast<WaveBarriers*>(weight(stages)); }
  __device__ WaveBias& bias(int group) const {
    return reinterpret_cast<WaveBias*>(weight(stages) + sizeof(WaveBarriers))[group];
  }
  __device__ char* result(int group, int box) const { return begin + (group * Own::boxes + box) * box_bytes; }
};

// One thread's work.
template <typename Own>
struct WaveCopier {
  const WaveRoom<Own>& room;
  const Wave& wave;
  const CUtensorMap& x;
  const CUtensorMap& weight;
  int row, column;

  // All that there is room for.
  __device__ void begin() const {
    TileBarrier* full = room.barriers().full;
    const int early = min(wave.steps, wave.stages);
    for (int step = 0; step < early; ++step) {
      full[step].arrive_and_expect(room.stage_bytes);
      load_tile(room.weight(step), weight, step * tile_inner, column, full[step]);
    }
    prefetch_map(x);
    wait_for_kernels_before();  // they may still write x, and never a weight
    for (int step = 0; step < early; ++step) {
      load_tile(room.x(step), x, step * tile_inner, row, full[step]);
    }
  }
  // A step that has to wait for room.
  __device__ void go_on(int step) const {
    const Turn turn(step, wave.stages);
    TileBarrier& full = room.barriers().full[turn.stage];
    room.barriers().empty[turn.stage].wait(turn.parity ^ 1);
    full.arrive_and_expect(room.stage_bytes);
    load_tile(room.weight(turn.stage), weight, step * tile_inner, column, full);
    load_tile(room.x(turn.stage), x, step * tile_inner, row, full);
  }
};

// A warpgroup's sums.
template <typename T, typename Own>
__device__ void add_wave(const WaveCopier<Own>& copier, int group, float (&sums)[Own::columns / 2]) {
  const WaveRoom<Own>& room = copier.room;
  const Wave& wave = copier.wave;
  const bool refills = wave.steps > wave.stages, speaks = threadIdx.x % warp_size == 0;
  Turn turn(0, wave.stages);
  int last_stage = 0;
  for (int step = 0; step < wave.steps; ++step) {
    room.barriers().full[turn.stage].wait(turn.parity);
    begin_products();
    multiply_boxes<T>(sums, tile_of(room.x(turn.stage) + group * box_bytes), tile_of(room.weight(turn.stage)),
                      step > 0);
    end_group_of_products();
    if (refills && step > 0) {
      wait_for_products<1>();
      if (speaks) {
        room.barriers().empty[last_stage].arrive();
      }
      if (Own::copies_itself && threadIdx.x == Own::copier && step - 1 + wave.stages < wave.steps) {
        copier.go_on(step - 1 + wave.stages);
      }
    }
    last_stage = turn.stage;
    turn.next(wave.stages);
  }
  wait_for_products<0>();
}

// Adds the bias of 64 columns to a thread's sums of them.
template <typename T>
__device__ void add_wave_bias(float (&sums)[tile_inner / 2], const WaveBias& bias, int box) {
  const uint32_t* pairs = bias.pairs + box * tile_inner / 2 + threadIdx.x % 4;
#pragma unroll
  for (int j = 0; j < tile_inner / 8; ++j) {
    const float2 both = unpack_pair<T>(pairs[4 * j]);
    sums[4 * j] += both.x;
    sums[4 * j + 1] += both.y;
    sums[4 * j + 2] += both.x;
    sums[4 * j + 3] += both.y;
  }
}

template <typename T, typename Own, typename Finish>
__device__ void multiply_wave(const WaveCopier<Own>& copier, const CUtensorMap& out, const FinishArguments& arguments,
                              int group) {
  const WaveRoom<Own>& room = copier.room;
  const int row = copier.row + group * group_rows, column = copier.column;
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads, lane = thread % warp_size;
  const int own_row = row + thread / warp_size * 16 + lane / 4, own_column = column + lane % 4 * 2;
  const typename Finish::Operands operands(arguments, own_row, own_column);
  if (arguments.bias != nullptr && 2 * thread < Own::columns) {
    room.bias(group).pairs[thread] = read_pair<T>(arguments.bias, min(column + 2 * thread, arguments.outputs - 2));
  }
  float sums[Own::columns / 2];
  add_wave<T>(copier, group, sums);
  // Until the bias is there and none reads what results replace.
  wait_for_threads(1 + Own::groups, Own::groups * warpgroup_threads);
#pragma unroll
  for (int box = 0; box < Own::boxes; ++box) {
    float(&part)[tile_inner / 2] = reinterpret_cast<float(&)[tile_inner / 2]>(sums[box * tile_inner / 2]);
    if (arguments.bias != nullptr) {
      add_wave_bias<T>(part, room.bias(group), box);
    }
    Finish::template finish<tile_inner>(arguments, operands, own_column + box * tile_inner, part);
    char* result = room.result(group, box);
    round_sums<T, tile_inner>(result, part);
    fence_shared_for_copies();
    wait_for_threads(1 + group, warpgroup_threads);
    if (thread == 0) {
      if (copier.wave.adds) {
        add_stored_tile(out, column + box * tile_inner, row, result);
      } else {
        store_tile(out, column + box * tile_inner, row, result);
      }
      end_group_of_stores();
    }
  }
  if (thread == 0) {
    wait_for_stores();
  }
}

template <typename T, typename Own, typename Finish>
__global__ void __launch_bounds__(Own::threads, 1)
    wave_product_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap weight,
                        const __grid_constant__ CUtensorMap out, FinishArguments arguments, Wave wave) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  let_next_begin();
  const WaveRoom<Own> room{shared, wave.stages};
  const int block = static_cast<int>(blockIdx.x);
  const WaveCopier<Own> copier{
      room, wave, x, weight, block / wave.columns * Own::rows, block % wave.columns * Own::columns};
  if (threadIdx.x == Own::copier) {
    for (int stage = 0; stage < wave.stages; ++stage) {
      room.barriers().full[stage].start(1);
      room.barriers().empty[stage].start(Own::groups * warpgroup_threads / warp_size);
    }
    fence_barriers();
    if constexpr (Own::copies_itself) {
      copier.begin();
    }
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / warpgroup_threads;
  if (group < Own::groups) {
    multiply_wave<T, Own, Finish>(copier, out, arguments, group);
  } else if (threadIdx.x == Own::copier) {
    copier.begin();
    for (int step = wave.stages; step < wave.steps; ++step) {
      copier.go_on(step);
    }
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
