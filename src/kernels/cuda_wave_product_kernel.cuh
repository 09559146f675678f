// The kernel of products so small that all their blocks run at once. There the latency of a block is what they take, so
// it asks for its weight before the kernels before it have ended and for its rows at once then. A warpgroup multiplies
// 64 rows of its own by all of the block's columns: broad instructions read least from shared memory for a product. A
// block goes through its code once, and an instruction takes longer to fetch than to carry out: so loops are unrolled
// over registers alone.
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
// The bias of a block's columns.
template <int columns>
struct WaveBias {
  uint32_t pairs[columns / 2];
};

// Shared memory: the stages of x, those of the weight, barriers, a bias for each warpgroup. A box of results takes the
// place of the warpgroup's own rows of x in the stage of the box's number.
template <typename Own>
struct WaveRoom {
  static constexpr int stage_bytes = Own::x_bytes + Own::weight_bytes;
  char* begin;
  int stages;
  __host__ __device__ int bytes() const {
    return stages * stage_bytes + static_cast<int>(sizeof(WaveBarriers) + Own::groups * sizeof(WaveBias<Own::columns>));
  }
  __device__ char* x(int stage) const { return begin + stage * Own::x_bytes; }
  __device__ char* weight(int stage) const { return x(stages) + stage * Own::weight_bytes; }
  __device__ WaveBarriers& barriers() const { return *reinterpret_cast<WaveBarriers*>(weight(stages)); }
  __device__ WaveBias<Own::columns>& bias(int group) const {
    return reinterpret_cast<WaveBias<Own::columns>*>(weight(stages) + sizeof(WaveBarriers))[group];
  }
  __device__ char* rows(int group, int stage) const { return x(stage) + group * box_bytes; }
};

// One thread's work.
template <typename Own>
struct WaveCopier {
  const WaveRoom<Own>& room;
  const Wave& wave;
  const CUtensorMap& x;
  const CUtensorMap& weight;
  int row, column;

  __device__ void load_weight(int step, int stage) const {
    TileBarrier& full = room.barriers().full[stage];
    full.arrive_and_expect(room.stage_bytes);
    load_tile(room.weight(stage), weight, step * tile_inner, column, full);
  }
  __device__ void load_rows(int step, int stage) const {
    load_tile(room.x(stage), x, step * tile_inner, row, room.barriers().full[stage]);
  }

  // All that there is room for.
  __device__ void begin() const {
    const int early = min(wave.steps, wave.stages);
#pragma unroll 1
    for (int step = 0; step < early; ++step) {
      load_weight(step, step);
    }
    prefetch_map(x);
    wait_for_kernels_before();  // they may still write x, and never a weight
#pragma unroll 1
    for (int step = 0; step < early; ++step) {
      load_rows(step, step);
    }
  }
  // A step that has to wait until the stage's phase of this parity has been read.
  __device__ void go_on(int step, const Turn& read) const {
    room.barriers().empty[read.stage].wait(read.parity);
    load_weight(step, read.stage);
    load_rows(step, read.stage);
  }
  __device__ void go_on_to_end() const {
    Turn read(0, wave.stages);
#pragma unroll 1
    for (int step = wave.stages; step < wave.steps; ++step) {
      go_on(step, read);
      read.next(wave.stages);
    }
  }
};

// A warpgroup's sums.
template <typename T, typename Own>
__device__ void add_wave(const WaveCopier<Own>& copier, int group, float (&sums)[Own::columns / 2]) {
  const WaveRoom<Own>& room = copier.room;
  const Wave& wave = copier.wave;
  const bool refills = wave.steps > wave.stages, speaks = threadIdx.x % warp_size == 0;
  Turn turn(0, wave.stages), last = turn;
#pragma unroll 1
  for (int step = 0; step < wave.steps; ++step) {
    room.barriers().full[turn.stage].wait(turn.parity);
    begin_products();
    multiply_boxes<T>(sums, tile_of(room.rows(group, turn.stage)), tile_of(room.weight(turn.stage)), step > 0);
    end_group_of_products();
    if (refills && step > 0) {
      wait_for_products<1>();
      if (speaks) {
        room.barriers().empty[last.stage].arrive();
      }
      if (Own::copies_itself && threadIdx.x == Own::copier && step - 1 + wave.stages < wave.steps) {
        copier.go_on(step - 1 + wave.stages, last);
      }
    }
    last = turn;
    turn.next(wave.stages);
  }
  wait_for_products<0>();
}

// Adds the bias of 64 columns to a thread's sums of them.
template <typename T, int columns>
__device__ void add_wave_bias(float (&sums)[tile_inner / 2], const WaveBias<columns>& bias, int box) {
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

// Writes a warpgroup's box of results, which each of its threads has put into shared memory in part.
inline __device__ void store_box(const CUtensorMap& out, bool adds, int column, int row, int group,
                                 const char* result) {
  fence_shared_for_copies();
  wait_for_threads(1 + group, warpgroup_threads);
  if (threadIdx.x % warpgroup_threads == 0) {
    if (adds) {
      add_stored_tile(out, column, row, result);
    } else {
      store_tile(out, column, row, result);
    }
    end_group_of_stores();
  }
}

template <typename T, typename Own, typename Finish>
__device__ void multiply_wave(const WaveCopier<Own>& copier, const CUtensorMap& out, const FinishArguments& arguments,
                              int group) {
  const WaveRoom<Own>& room = copier.room;
  const int row = copier.row + group * group_rows, column = copier.column;
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads, lane = thread % warp_size;
  const int own_row = row + thread / warp_size * 16 + lane / 4, own_column = column + lane % 4 * 2;
  if (thread == 0) {
    prefetch_map(out);
  }
  const typename Finish::Operands operands(arguments, own_row, own_column);
  if (arguments.bias != nullptr && 2 * thread < Own::columns) {
    room.bias(group).pairs[thread] = read_pair<T>(arguments.bias, min(column + 2 * thread, arguments.outputs - 2));
  }
  wait_for_threads(1 + group, warpgroup_threads);  // until the bias is there
  float sums[Own::columns / 2];
  add_wave<T>(copier, group, sums);
  wait_for_threads(1 + group, warpgroup_threads);  // until all have read what results replace
#pragma unroll
  for (int box = 0; box < Own::boxes; ++box) {
    float(&part)[tile_inner / 2] = reinterpret_cast<float(&)[tile_inner / 2]>(sums[box * tile_inner / 2]);
    if (arguments.bias != nullptr) {
      add_wave_bias<T>(part, room.bias(group), box);
    }
    Finish::template finish<tile_inner>(arguments, operands, own_column + box * tile_inner, part);
    char* result = room.rows(group, box);
    round_sums<T, tile_inner>(result, part);
    store_box(out, copier.wave.adds, column + box * tile_inner, row, group, result);
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
#pragma unroll 1
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
    copier.go_on_to_end();
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
