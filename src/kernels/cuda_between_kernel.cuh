// The kernel of all that stands between two attentions, see kernels/cuda_between.cu. A cluster of blocks shares 64
// rows. Each warpgroup makes 64 columns at a time of every product for these rows, and sends them to where the next
// product needs them, into the shared memory of all the cluster's blocks. Weights come by the copy engine into a ring
// that runs ahead across products.
#pragma once

#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_finish.cuh"
#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int between_columns = 64;                 // of a warpgroup's tile
inline constexpr int between_words = between_columns / 4;  // a thread's pairs of values in a tile

// Every warpgroup of a cluster of `blocks` stands for a part of the columns.
template <int width_, int blocks_>
struct BetweenShape {
  static constexpr int width = width_, blocks = blocks_, steps = width / tile_inner;
  static constexpr int parts = width / between_columns, groups = parts / blocks;  // of a block
  static constexpr int threads = (groups + 1) * warpgroup_threads;                // one more warpgroup copies
  static constexpr int copying_registers = 40, multiplying_registers = 232;
  static constexpr int stage_bytes = groups * box_bytes, buffer_bytes = steps * box_bytes, barrier_bytes = 1024;
  static constexpr int stages = (227 * 1024 - 2 * buffer_bytes - barrier_bytes) / stage_bytes;
  static constexpr int bytes = 2 * buffer_bytes + stages * stage_bytes + barrier_bytes;
  // The first parts norm so many rows each.
  static constexpr int normed_rows = 16, norming_parts = group_rows / normed_rows;
  static constexpr int norming_groups = norming_parts / blocks;  // of a block
  // What other blocks send for each of these.
  static constexpr int rows_bytes = (parts - groups) * normed_rows * tile_row_bytes;
  static constexpr int normed_bytes = (norming_parts - norming_groups) * normed_rows * steps * tile_row_bytes;
  static constexpr int hidden_bytes = (parts - groups) * box_bytes;
  static_assert(parts == norming_parts && groups == 2 && groups * blocks == parts && stages <= warp_size);
};

template <typename Shape>
struct BetweenBarriers {
  TileBarrier full[Shape::stages], empty[Shape::stages];
  TileBarrier mixed, normed, hidden[2], rows[Shape::groups];
};

// Copies within the cluster, to the same place of another block, whose barrier counts the bytes.
inline __device__ void copy_to_block(int rank, const void* from, int bytes, TileBarrier& barrier) {
  asm volatile(
      "{\n.reg .b32 to, there;\n"
      "mapa.shared::cluster.u32 to, %0, %3;\n"
      "mapa.shared::cluster.u32 there, %2, %3;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [to], [%0], %1, [there];\n}" ::"r"(
          shared_address(from)),
      "r"(bytes), "r"(shared_address(&barrier.state)), "r"(rank)
      : "memory");
}

// Shared memory. Both buffers of 64 rows are boxes of 64 columns as the copy engine lays them. In turn they hold:
// attention's result and rows to norm, which become normed; a slice of the hidden layer, as many columns as the model
// is wide, and the next one; rows to norm again, and results on their way to memory. A warpgroup overwrites a part of a
// buffer only after it has received what all the cluster's warpgroups sent after they had read it.
template <typename Shape>
struct BetweenRoom {
  char* begin;
  __device__ char* buffer(int which) const { return begin + which * Shape::buffer_bytes; }
  __device__ char* stage(int stage) const { return buffer(2) + stage * Shape::stage_bytes; }
  __device__ BetweenBarriers<Shape>& barriers() const {
    static_assert(sizeof(BetweenBarriers<Shape>) <= Shape::barrier_bytes);
    return *reinterpret_cast<BetweenBarriers<Shape>*>(stage(Shape::stages));
  }
};

struct BetweenMaps {
  CUtensorMap mixed, projection, expand, contract, next;
};

// Two threads' work.
template <typename Shape>
__device__ void copy_mixed(const BetweenRoom<Shape>& room, const CUtensorMap& map, int row) {
  prefetch_map(map);
  wait_for_kernels_before();
  TileBarrier& barrier = room.barriers().mixed;
  barrier.arrive_and_expect(Shape::buffer_bytes);
  for (int box = 0; box < Shape::steps; ++box) {
    load_tile(room.buffer(0) + box * box_bytes, map, box * tile_inner, row, barrier);
  }
}
template <typename Shape>
__device__ void copy_between(const BetweenRoom<Shape>& room, const BetweenMaps& maps, const BetweenArguments& a,
                             int rank) {
  constexpr int steps = Shape::steps;
  BetweenBarriers<Shape>& barriers = room.barriers();
  Turn turn(0, Shape::stages);
  int queued = 0;
  const auto copy = [&](const CUtensorMap& map, int tile, int first_step) {
    const int column = (tile * Shape::parts + rank * Shape::groups) * between_columns;
    for (int step = first_step; step < first_step + steps; ++step, ++queued) {
      if (queued >= Shape::stages) {
        barriers.empty[turn.stage].wait(turn.parity ^ 1);
      }
      barriers.full[turn.stage].arrive_and_expect(Shape::stage_bytes);
      load_tile(room.stage(turn.stage), map, step * tile_inner, column, barriers.full[turn.stage]);
      turn.next(Shape::stages);
    }
  };
  copy(maps.projection, 0, 0);
  for (int slice = 0; slice <= a.slices; ++slice) {
    if (slice < a.slices) {
      copy(maps.expand, slice, 0);
    }
    if (slice > 0) {
      copy(maps.contract, 0, (slice - 1) * steps);
    }
  }
  if (!a.last) {
    for (int tile = 0; tile < 3; ++tile) {
      copy(maps.next, tile, 0);
    }
  }
}

// Makes the compiler read sums only after the products that it cannot see to write them.
inline __device__ void settle(float (&sums)[between_columns / 2]) {
#pragma unroll
  for (int i = 0; i < between_columns / 2; ++i) {
    asm volatile("" : "+f"(sums[i])::"memory");
  }
}

template <typename T>
__device__ void round_tile(const float (&sums)[between_columns / 2], uint32_t (&words)[between_words]) {
#pragma unroll
  for (int i = 0; i < between_words; ++i) {
    words[i] = round_pair<T>(sums[2 * i], sums[2 * i + 1]);
  }
}

// A warpgroup that multiplies.
template <typename T, typename Shape>
struct BetweenGroup {
  using Sums = float[between_columns / 2];
  using Words = uint32_t[between_words];
  using Bias = ColumnBias<T, between_columns>;
  static constexpr int steps = Shape::steps, products_each = tile_inner / 16;
  using HeldRows = uint32_t[steps * products_each][4];

  const BetweenArguments& a;
  BetweenRoom<Shape> room;
  BetweenBarriers<Shape>& barriers;
  int thread, warp, lane, group, rank, part, first_row, own_row;
  Turn turn{0, Shape::stages};
  int freed = 0;

  __device__ BetweenGroup(const BetweenArguments& arguments, const BetweenRoom<Shape>& own_room, int own_rank, int row)
      : a(arguments),
        room(own_room),
        barriers(room.barriers()),
        thread(static_cast<int>(threadIdx.x) % warpgroup_threads),
        warp(thread / warp_size),
        lane(thread % warp_size),
        group(static_cast<int>(threadIdx.x) / warpgroup_threads),
        rank(own_rank),
        part(rank * Shape::groups + group),
        first_row(row),
        own_row(warp * 16 + lane / 4) {}

  __device__ int column() const { return part * between_columns + lane % 4 * 2; }
  __device__ FinishArguments finish_arguments(const void* bias, int outputs) const {
    FinishArguments finish;
    finish.bias = bias;
    finish.outputs = outputs;
    finish.rows = static_cast<int>(a.rows);
    finish.angles = a.angles;
    finish.length = static_cast<int>(a.length);
    finish.rotated = static_cast<int>(a.rotated);
    return finish;
  }

  __device__ uint64_t next_weight() {
    barriers.full[turn.stage].wait(turn.parity);
    const uint64_t weight = tile_of(room.stage(turn.stage) + group * box_bytes);
    turn.next(Shape::stages);
    return weight;
  }
  __device__ void free_stage() {
    if (lane == 0) {
      barriers.empty[freed].arrive();
    }
    freed = freed + 1 == Shape::stages ? 0 : freed + 1;
  }

  // Both leave the last step's products unfinished.
  __device__ void multiply(Sums& sums, const HeldRows& x) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      const uint64_t weight = next_weight();
      begin_products();
#pragma unroll
      for (int k = 0; k < products_each; ++k) {
        multiply_tiles<T>(sums, x[step * products_each + k], further(weight, k * 32), step + k > 0 ? 1 : 0);
      }
      end_group_of_products();
      if (step > 0) {
        wait_for_products<1>();
        free_stage();
      }
    }
  }
  __device__ void multiply(Sums& sums, const char* x, bool adds) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      const uint64_t weight = next_weight(), own = tile_of(x + step * box_bytes);
      begin_products();
#pragma unroll
      for (int k = 0; k < products_each; ++k) {
        multiply_tiles<T>(sums, further(own, k * 32), further(weight, k * 32), adds || step + k > 0 ? 1 : 0);
      }
      end_group_of_products();
      if (step > 0) {
        wait_for_products<1>();
        free_stage();
      }
    }
  }
  __device__ void finish_products(Sums& sums) {
    wait_for_products<0>();
    free_stage();
    settle(sums);
  }

  __device__ void read_residual(Words& x) const {
#pragma unroll
    for (int i = 0; i < between_words; ++i) {
      const int row = first_row + own_row + i % 2 * 8;
      x[i] = row < a.rows ? read_pair<T>(a.x, static_cast<int64_t>(row) * Shape::width + column() + i / 2 * 8) : 0;
    }
  }
  // As a product that is rounded and then added to what stands in memory.
  __device__ void add_to_residual(Words& x, const Bias& bias, Sums& sums) const {
    bias.add_to(sums);
    Words rounded;
    round_tile<T>(sums, rounded);
#pragma unroll
    for (int i = 0; i < between_words; ++i) {
      const float2 one = unpack_pair<T>(x[i]), other = unpack_pair<T>(rounded[i]);
      x[i] = round_pair<T>(one.x + other.x, one.y + other.y);
    }
  }

  // A tile in the product's layout to its place in a buffer, each warp its own 16 rows.
  __device__ void put(const Words& words, int which) const {
    const int row = warp * 16 + lane % 16;
    char* buffer = room.buffer(which);
#pragma unroll
    for (int i = 0; i < between_words / 4; ++i) {
      asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                       shared_address(buffer + place(row, part, 2 * i + lane / 16))),
                   "r"(words[4 * i]), "r"(words[4 * i + 1]), "r"(words[4 * i + 2]), "r"(words[4 * i + 3])
                   : "memory");
    }
  }
  // From there to a matrix in memory.
  __device__ void write(void* out, int64_t row_values, int first_column, int which) const {
    __syncwarp();
    const char* buffer = room.buffer(which);
    int4 chunks[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      chunks[i] = *reinterpret_cast<const int4*>(buffer + place(warp * 16 + i * 4 + lane / 8, part, lane % 8));
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = first_row + warp * 16 + i * 4 + lane / 8;
      if (row < a.rows) {
        *reinterpret_cast<int4*>(static_cast<T*>(out) + row * row_values + first_column + lane % 8 * 8) = chunks[i];
      }
    }
    __syncwarp();
  }
  __device__ void wait_for_group() const {
    wait_for_threads(1 + group, warpgroup_threads);
  }
  // A warp's 16 rows go to the warpgroup that norms them, to where it will put what it makes of them.
  __device__ void send_rows(int which) const {
    fence_shared_for_copies();
    __syncwarp();
    if (lane == 0) {
      const int to_rank = warp / Shape::groups, to = warp % Shape::groups;
      if (to_rank == rank) {
        barriers.rows[to].arrive();
      } else {
        copy_to_block(to_rank, room.buffer(which) + place(warp * Shape::normed_rows, part, 0),
                      Shape::normed_rows * tile_row_bytes, barriers.rows[to]);
      }
    }
  }
  __device__ static int place(int row, int box, int chunk) {
    return box * box_bytes + row * tile_row_bytes + (chunk ^ row % 8) * 16;
  }
  // Norms 16 rows as norm_kernel does, whose lane l has the chunks l and l + 32, which are summed in order, and adds up
  // over the lanes with those 16, 8, 4, 2 and 1 further. Here eight lanes have a row, and lane e the chunks e + 8 m.
  __device__ void norm_rows(const void* norm_weight, const void* norm_bias, int turn_of_rows, int which,
                            bool sends) const {
    constexpr int classes = 4;
    const int row = part * Shape::normed_rows + warp * 4 + lane / 8, e = lane % 8;
    char* own = room.buffer(which);
    const auto chunk_of = [&](const void* from, int m) {
      return *reinterpret_cast<const int4*>(static_cast<const T*>(from) + m * tile_inner + e * 8);
    };
    int4 weight[steps], bias[steps], bits[steps];
#pragma unroll
    for (int m = 0; m < steps; ++m) {
      weight[m] = chunk_of(norm_weight, m);
      bias[m] = norm_bias == nullptr ? int4{} : chunk_of(norm_bias, m);
    }
    barriers.rows[group].wait(turn_of_rows);
    if (thread == 0 && turn_of_rows == 0) {
      barriers.rows[group].arrive_and_expect(Shape::rows_bytes);
    }
#pragma unroll
    for (int m = 0; m < steps; ++m) {
      bits[m] = *reinterpret_cast<const int4*>(own + place(row, m, e));
    }
    const auto value = [](const int4& chunk, int i) { return to_float(reinterpret_cast<const T*>(&chunk)[i]); };
    const auto total = [&](auto add) {
      float sums[classes];
#pragma unroll
      for (int c = 0; c < classes; ++c) {
        sums[c] = 0;
#pragma unroll
        for (int m = c; m < steps; m += classes) {
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            sums[c] = add(sums[c], value(bits[m], i));
          }
        }
      }
      float sum = (sums[0] + sums[2]) + (sums[1] + sums[3]);
#pragma unroll
      for (int offset = 4; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(all_lanes, sum, offset);
      }
      return sum;
    };
    const float mean = total([](float sum, float x) { return sum + x; }) / static_cast<float>(Shape::width);
    const float squares = total([&](float sum, float x) { return fmaf(x - mean, x - mean, sum); });
    const float scale = rsqrtf(squares / static_cast<float>(Shape::width) + a.epsilon);
#pragma unroll
    for (int m = 0; m < steps; ++m) {
      int4 out;
      auto* words = reinterpret_cast<uint32_t*>(&out);
#pragma unroll
      for (int i = 0; i < 8; i += 2) {
        words[i / 2] =
            round_pair<T>(fmaf((value(bits[m], i) - mean) * scale, value(weight[m], i), value(bias[m], i)),
                          fmaf((value(bits[m], i + 1) - mean) * scale, value(weight[m], i + 1), value(bias[m], i + 1)));
      }
      if (sends) {
        *reinterpret_cast<int4*>(own + place(row, m, e)) = out;
      } else if (first_row + row < a.rows) {
        *reinterpret_cast<int4*>(static_cast<T*>(a.out) + static_cast<int64_t>(first_row + row) * Shape::width +
                                 m * tile_inner + e * 8) = out;
      }
    }
    if (sends) {
      fence_shared_for_copies();
      wait_for_group();
      TileBarrier& barrier = barriers.normed;
      if (thread < Shape::blocks * steps && thread / steps != rank) {
        copy_to_block(thread / steps, own + place(part * Shape::normed_rows, thread % steps, 0),
                      Shape::normed_rows * tile_row_bytes, barrier);
      }
      if (thread == 0) {
        barrier.arrive();
      }
    }
  }

  // The warp's rows of a buffer, as a multiplying instruction takes them from registers.
  __device__ void hold(HeldRows& x, const char* buffer) const {
    const int row = warp * 16 + lane % 16;
#pragma unroll
    for (int i = 0; i < steps * products_each; ++i) {
      const uint32_t from = shared_address(buffer + place(row, i / products_each, i % products_each * 2 + lane / 16));
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(x[i][0]), "=r"(x[i][1]), "=r"(x[i][2]), "=r"(x[i][3])
                   : "r"(from)
                   : "memory");
    }
  }
  __device__ void hold_normed(HeldRows& x, int turn_of_rows, int which) const {
    barriers.normed.wait(turn_of_rows);
    if (threadIdx.x == 0 && turn_of_rows == 0) {
      barriers.normed.arrive_and_expect(Shape::normed_bytes);
    }
    hold(x, room.buffer(which));
  }

  // Adds the products of a slice of the hidden layer.
  __device__ void contract(int slice, Sums& sums) {
    TileBarrier& barrier = barriers.hidden[slice % 2];
    barrier.wait(slice / 2 % 2);
    if (threadIdx.x == 0) {
      barrier.arrive_and_expect(Shape::hidden_bytes);
    }
    multiply(sums, room.buffer(slice % 2), slice > 0);
    finish_products(sums);
  }
  __device__ Bias bias_of_slice(int slice) const {
    return Bias(finish_arguments(a.expand.bias, a.slices * Shape::width), slice * Shape::width + column());
  }
  __device__ void send_slice(int slice) const {
    fence_shared_for_copies();
    wait_for_group();
    TileBarrier& barrier = barriers.hidden[slice % 2];
    if (thread < Shape::blocks && thread != rank) {
      copy_to_block(thread, room.buffer(slice % 2) + part * box_bytes, box_bytes, barrier);
    } else if (thread == rank) {
      barrier.arrive();
    }
  }

  // A slice is on its way to the other blocks while the products of the next one are added up.
  template <Activation form>
  __device__ void feed_forward(const HeldRows& x, Sums& contracted) {
    Sums expanded;
    Bias bias = bias_of_slice(0);
    multiply(expanded, x);
    finish_products(expanded);
    const FinishArguments none;
#pragma unroll 1
    for (int slice = 0; slice < a.slices; ++slice) {
      bias.add_to(expanded);
      Activated<form>::template finish<between_columns>(none, Plain::Operands(none, 0, 0), 0, expanded);
      Words rounded;
      round_tile<T>(expanded, rounded);
      put(rounded, slice % 2);
      send_slice(slice);
      if (slice + 1 < a.slices) {
        bias = bias_of_slice(slice + 1);
        multiply(expanded, x);
        finish_products(expanded);
      }
      contract(slice, contracted);
    }
  }

  template <typename Finish>
  __device__ void next_products(const HeldRows& x, int which) {
    const FinishArguments finish = finish_arguments(a.next.bias, 3 * Shape::width);
    // Angles are those of a row and of a column's place in its head, so of all tiles.
    const typename Finish::Operands operands(finish, first_row + own_row, column());
#pragma unroll 1
    for (int tile = 0; tile < 3; ++tile) {
      const int own_column = tile * Shape::width + column();
      const Bias bias(finish, own_column);
      Sums sums;
      multiply(sums, x);
      finish_products(sums);
      bias.add_to(sums);
      Finish::template finish<between_columns>(finish, operands, own_column, sums);
      Words words;
      round_tile<T>(sums, words);
      put(words, which);
      write(a.out, 3 * Shape::width, tile * Shape::width + part * between_columns, which);
    }
  }

  template <Activation form, typename Finish>
  __device__ void run() {
    Bias bias(finish_arguments(a.projection.bias, Shape::width), column());
    wait_for_kernels_before();
    Words x;
    read_residual(x);
    Sums sums;
    barriers.mixed.wait(0);
    multiply(sums, room.buffer(0), false);
    finish_products(sums);
    wait_for_cluster();
    const int free_buffer = a.slices % 2;
#pragma unroll 1
    for (int half = 0; half < 2; ++half) {
      const bool second = half > 0;
      const int which = second ? free_buffer : 1;
      add_to_residual(x, bias, sums);
      put(x, which);
      if (second) {
        write(a.x, Shape::width, part * between_columns, which);
      }
      send_rows(which);
      const DecodeNorm& norm = second ? a.next_norm : a.feed_forward_norm;
      norm_rows(norm.weight, norm.bias, half, which, !second || !a.last);
      HeldRows held;
      if (!second || !a.last) {
        hold_normed(held, half, which);
      }
      if (!second) {
        bias = Bias(finish_arguments(a.contract.bias, Shape::width), column());
        feed_forward<form>(held, sums);
      } else {
        arrive_at_cluster();  // all that others sent here has come
        if (!a.last) {
          next_products<Finish>(held, 1 - which);
        }
      }
    }
  }
};

template <typename T, typename Shape, Activation form, typename Finish>
__global__ void __launch_bounds__(Shape::threads, 1)
    between_kernel(const __grid_constant__ BetweenMaps maps, const __grid_constant__ BetweenArguments a) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  let_next_begin();
  const BetweenRoom<Shape> room{shared};
  BetweenBarriers<Shape>& barriers = room.barriers();
  const int rank = static_cast<int>(blockIdx.x) % Shape::blocks,
            row = static_cast<int>(blockIdx.x) / Shape::blocks * group_rows;
  constexpr int copier = Shape::groups * warpgroup_threads;
  const int starter = static_cast<int>(threadIdx.x) - copier;
  if (starter >= 0 && starter < Shape::stages) {
    barriers.full[starter].start(1);
    barriers.empty[starter].start(Shape::groups * warpgroup_threads / warp_size);
    fence_barriers();
  } else if (starter >= warp_size && starter < warp_size + Shape::groups) {
    TileBarrier& rows = barriers.rows[starter - warp_size];
    rows.start(1 + Shape::groups);
    rows.arrive_and_expect(Shape::rows_bytes);
    fence_barriers();
  } else if (starter == 2 * warp_size) {
    barriers.mixed.start(1);
    barriers.normed.start(1 + Shape::norming_groups);
    barriers.normed.arrive_and_expect(Shape::normed_bytes);
    for (TileBarrier& hidden : barriers.hidden) {
      hidden.start(1 + Shape::groups);
      hidden.arrive_and_expect(Shape::hidden_bytes);
    }
    fence_barriers();
  } else if (starter == 3 * warp_size) {
    for (const CUtensorMap* map : {&maps.projection, &maps.expand, &maps.contract, &maps.next}) {
      prefetch_map(*map);
    }
  }
  __syncthreads();
  arrive_at_cluster();
  if (threadIdx.x < copier) {
    take_registers<Shape::multiplying_registers>();
    BetweenGroup<T, Shape>(a, room, rank, row).template run<form, Finish>();
  } else {
    give_registers<Shape::copying_registers>();
    if (threadIdx.x == copier) {
      copy_between(room, maps, a, rank);
    } else if (threadIdx.x == copier + warp_size) {
      copy_mixed(room, maps.mixed, row);
    }
    __syncwarp();
    wait_for_cluster();
    arrive_at_cluster();
  }
  wait_for_cluster();  // else a block might end before what it sends has been read
#endif
}

}  // namespace demask::kernels::cuda::launch
