// The kernel of products so small that all their blocks run at once. There the latency of a block is what they take, so
// it asks for its weight before the kernels before it have ended and for its rows at once then. A warpgroup multiplies
// 64 rows of its own by all of the block's columns: broad instructions read least from shared memory for a product. A
// block goes through its code once, and an instruction takes longer to fetch than to carry out: so loops are unrolled
// over registers alone.
#pragma once

#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

// One more warp copies, or where its registers are needed, one of those that multiply.
template <int own_groups, int own_columns>
struct WaveDivision {
  static constexpr int groups = own_groups, columns = own_columns, rows = groups * group_rows;
  static constexpr bool copies_itself = groups == 3;
  static constexpr int threads = groups * warpgroup_threads + (copies_itself ? 0 : warp_size);
  static constexpr int copier = copies_itself ? 0 : groups * warpgroup_warps;                  // a warp
  static constexpr int x_bytes = groups * box_bytes, weight_bytes = columns * tile_row_bytes;  // a step
  static constexpr int boxes = columns / tile_inner;
  static constexpr int most_stages = 12;
  static constexpr bool weight_first = false;  // the instruction's 64 rows are rows of x
  static constexpr int sums = columns / 2;     // of a thread
};

// Blocks of fewer rows than an instruction has: its 64 rows are 64 of the weight's, and its columns rows of x. A
// value's sum is the same, and a block's rows, which it cannot ask for before the kernels before have ended, are there
// sooner.
struct LowDivision {
  static constexpr int groups = 1, columns = group_rows, rows = 32;
  static constexpr bool copies_itself = false;
  static constexpr int threads = warpgroup_threads + warp_size, copier = warpgroup_warps;
  static constexpr int x_bytes = rows * tile_row_bytes, weight_bytes = columns * tile_row_bytes;  // a step
  static constexpr int boxes = 1, most_stages = 16;
  static constexpr bool weight_first = true;
  static constexpr int sums = rows / 2;
};

// Block b takes the b % columns-th columns of the b / columns-th rows.
struct Wave {
  int columns, steps, stages;
  bool adds;  // the result to what stands in `out`
};

template <int most_stages>
struct WaveBarriers {
  TileBarrier full[most_stages], empty[most_stages];
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
  using Barriers = WaveBarriers<Own::most_stages>;
  static constexpr int stage_bytes = Own::x_bytes + Own::weight_bytes;
  char* begin;
  int stages;
  __host__ __device__ int bytes() const {
    return stages * stage_bytes + static_cast<int>(sizeof(Barriers) + Own::groups * sizeof(WaveBias<Own::columns>));
  }
  __device__ char* x(int stage) const { return begin + stage * Own::x_bytes; }
  __device__ char* weight(int stage) const { return x(stages) + stage * Own::weight_bytes; }
  __device__ Barriers& barriers() const { return *reinterpret_cast<Barriers*>(weight(stages)); }
  __device__ WaveBias<Own::columns>& bias(int group) const {
    return reinterpret_cast<WaveBias<Own::columns>*>(weight(stages) + sizeof(Barriers))[group];
  }
  __device__ char* rows(int group, int stage) const { return x(stage) + group * box_bytes; }
};

// A whole warp's work.
template <typename Own>
struct WaveCopier {
  const WaveRoom<Own>& room;
  const Wave& wave;
  const CUtensorMap& x;
  const CUtensorMap& weight;
  int row, column;

  __device__ void load_weight(int step, int stage) const {
    TileBarrier& full = room.barriers().full[stage];
    if (speaks_for_warp()) {
      full.arrive_and_expect(room.stage_bytes);
      load_tile(room.weight(stage), weight, step * tile_inner, column, full);
    }
  }
  __device__ void load_rows(int step, int stage) const {
    if (speaks_for_warp()) {
      load_tile(room.x(stage), x, step * tile_inner, row, room.barriers().full[stage]);
    }
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
  __device__ void go_on(int step, int stage, int parity) const {
    room.barriers().empty[stage].wait(static_cast<uint32_t>(parity));
    load_weight(step, stage);
    load_rows(step, stage);
  }
  __device__ void go_on_to_end() const {
    Turn read(0, wave.stages);
#pragma unroll 1
    for (int step = wave.stages; step < wave.steps; ++step) {
      go_on(step, read.stage, read.parity);
      read.next(wave.stages);
    }
  }
};

// A warpgroup's sums. Steps are counted by rounds of the stages, and where their tiles lie is carried from one to the
// next: so the compiler keeps it in the registers that the multiplying instruction reads, rather than to work it out
// when the products before have ended.
template <typename T, typename Own>
__device__ void add_wave(const WaveCopier<Own>& copier, int warp, float (&sums)[Own::sums]) {
  const WaveRoom<Own>& room = copier.room;
  const Wave& wave = copier.wave;
  const bool speaks = threadIdx.x % warp_size == 0;
  const uint64_t first_rows = tile_of(room.rows(warp / warpgroup_warps, 0)), first_weight = tile_of(room.weight(0));
  const int refills = wave.steps - wave.stages;
#pragma unroll 1
  for (int round = 0, first = 0; first < wave.steps; ++round, first += wave.stages) {
    const int until = min(wave.stages, wave.steps - first);
    uint64_t rows = first_rows, weight = first_weight;
    TileBarrier* full = room.barriers().full;
#pragma unroll 1
    for (int stage = 0; stage < until; ++stage) {
      full->wait(static_cast<uint32_t>(round & 1));
      begin_products();
      multiply_boxes<T>(sums, Own::weight_first ? weight : rows, Own::weight_first ? rows : weight, first + stage > 0);
      end_group_of_products();
      rows += Own::x_bytes / tile_unit_bytes;
      weight += Own::weight_bytes / tile_unit_bytes;
      ++full;
      const int last = first + stage - 1;  // whose products have ended when only this step's have not
      if (last >= 0 && last < refills) {
        wait_for_products<1>();
        const int read = stage == 0 ? wave.stages - 1 : stage - 1;
        if (speaks) {
          room.barriers().empty[read].arrive();
        }
        if (Own::copies_itself && warp == Own::copier) {
          copier.go_on(last + wave.stages, read, (stage == 0 ? round - 1 : round) & 1);
        }
      }
    }
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
inline __device__ void store_box(const CUtensorMap& out, bool adds, int column, int row, int warp, const char* result) {
  fence_shared_for_copies();
  wait_for_threads(1 + warp / warpgroup_warps, warpgroup_threads);
  if (warp % warpgroup_warps == 0 && speaks_for_warp()) {
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
                              int warp) {
  const WaveRoom<Own>& room = copier.room;
  const int group = warp / warpgroup_warps, row = copier.row + group * group_rows, column = copier.column;
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
  add_wave<T>(copier, warp, sums);
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
    store_box(out, copier.wave.adds, column + box * tile_inner, row, warp, result);
  }
  wait_for_stores();
}

// Rounds sums of [64 columns, rows] into rows of shared memory, as the copy engine wants them.
template <typename T, int rows>
__device__ void round_low_sums(char* result, const float (&sums)[rows / 2]) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warp_size, row = lane % 8;
  const int chunk = thread / warp_size * 2 + lane / 8 % 2;
  char* to = result + (lane / 16 * 8 + row) * tile_row_bytes + (chunk ^ row) * static_cast<int>(bytes_at_once);
#pragma unroll
  for (int j = 0; j < rows / 8; j += 2) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                     shared_address(to + j * 8 * tile_row_bytes)),
                 "r"(round_pair<T>(sums[4 * j], sums[4 * j + 1])), "r"(round_pair<T>(sums[4 * j + 2], sums[4 * j + 3])),
                 "r"(round_pair<T>(sums[4 * j + 4], sums[4 * j + 5])),
                 "r"(round_pair<T>(sums[4 * j + 6], sums[4 * j + 7]))
                 : "memory");
  }
}

// Nothing but the bias follows these.
template <typename T>
__device__ void multiply_low_wave(const WaveCopier<LowDivision>& copier, const CUtensorMap& out,
                                  const FinishArguments& arguments, int warp) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    prefetch_map(out);
  }
  float bias[2] = {};  // of a thread's two columns
  if (arguments.bias != nullptr) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int column = copier.column + warp * 16 + thread % warp_size / 4 + 8 * i;
      bias[i] = to_float(static_cast<const T*>(arguments.bias)[min(column, arguments.outputs - 1)]);
    }
  }
  float sums[LowDivision::sums];
  add_wave<T>(copier, warp, sums);
#pragma unroll
  for (int i = 0; i < LowDivision::sums; ++i) {
    sums[i] += bias[i / 2 % 2];
  }
  wait_for_threads(1, warpgroup_threads);  // until all have read what results replace
  char* result = copier.room.rows(0, 0);
  round_low_sums<T, LowDivision::rows>(result, sums);
  store_box(out, copier.wave.adds, copier.column, copier.row, warp, result);
  wait_for_stores();
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
  const int warp = number_of_warp();
  if (warp == Own::copier) {
    if (threadIdx.x % warp_size == 0) {
#pragma unroll 1
      for (int stage = 0; stage < wave.stages; ++stage) {
        room.barriers().full[stage].start(1);
        room.barriers().empty[stage].start(Own::groups * warpgroup_warps);
      }
      fence_barriers();
    }
    __syncwarp();
    if constexpr (Own::copies_itself) {
      copier.begin();
    }
  }
  __syncthreads();
  if (warp == Own::groups * warpgroup_warps) {
    copier.begin();
    copier.go_on_to_end();
  } else if constexpr (Own::weight_first) {
    multiply_low_wave<T>(copier, out, arguments, warp);
  } else {
    multiply_wave<T, Own, Finish>(copier, out, arguments, warp);
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
