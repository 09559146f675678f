// Texts of few states stretch by stretch: how blocks come by what the parts of pattern_stretches.h read, and where
// these keep it.
#pragma once

#include <cuda_pipeline.h>

#include <type_traits>

#include "kernels/cuda_early.cuh"
#include "kernels/cuda_pattern_messages.cuh"
#include "kernels/pattern_stretches.h"

namespace demask::kernels::cuda::launch {

// A stretch's messages are a block's of the one number of threads where all are filled at once, and else of the other.
inline constexpr int wide_stretch_threads = 256, stretch_threads = 128;
inline constexpr int matrix_threads = 512, chain_threads = few_messages_threads;

// What a block that makes a matrix shares.
struct MatrixRoom {
  TransferRoom transfer;
  int32_t plan[most_plan_numbers];
};

inline __device__ TransferPlan stage_plan(const PatternTable& table, int32_t* room) {
  const int32_t size = TransferPlan{table.plan}.size();
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
    room[i] = table.plan[i];
  }
  return {room};
}

// The matrices of a block's stretches, which are next to each other, of so many a text; before(table, b, stretch,
// block) comes first to each.
template <typename Before>
__device__ void make_matrices(const PatternArguments& a, int64_t of_text, const Before& before) {
  extern __shared__ __align__(16) double shared[];
  __shared__ BlockRoom team_room;
  auto& room = *reinterpret_cast<MatrixRoom*>(shared);
  BlockOf<matrix_threads> block{{team_room}};
  const auto stretches = static_cast<unsigned>(of_text), all = static_cast<unsigned>(a.batch) * stretches,
             first = all * blockIdx.x / gridDim.x, end = all * (blockIdx.x + 1) / gridDim.x;
  int64_t text = -1, staged_at = -1;  // and the table whose plan is in shared memory
  PatternTable table;
  bool found = false, planned = false;
  TransferPlan plan;
  let_next_begin();
  for (unsigned item = first; item < end; ++item) {
    const int64_t b = item / stretches, stretch = item % stretches;
    if (b != text) {
      text = b;
      found = find_table(a, b, table);
      planned = found && table.plan != nullptr;
    }
    if (planned && a.table_at[b] != staged_at) {
      staged_at = a.table_at[b];
      block.sync();
      plan = stage_plan(table, room.plan);  // no kernel writes it
    }
    if (item == first) {
      wait_for_kernels_before();
    }
    if (found) {
      before(table, b, stretch, block);
    }
    block.sync();
    if (planned && has_matrix(a, b, stretch)) {
      make_matrix(a, plan, b, stretch, room.transfer, block);
    }
  }
}

// Whether weights are such that scaled messages hold; their reads do not wait for each other. By so many threads.
inline __device__ bool weights_hold(const PatternArguments& a, int64_t b, int rank, int size) {
  bool hold = true;
  for (int64_t t = rank; t < a.length; t += size) {
    hold = static_cast<bool>(hold & a.holds[b * a.length + t]);
  }
  return hold;
}

// A text's matrices, brought into shared memory some stretches ahead of where they are read, by the threads that pass
// no messages on.
class StagedMatrices {
 public:
  static constexpr int slots = 6;
  static constexpr int slot_numbers = most_transfer_row * transfer_width;

  // Rows are filled up with zeros to so many entries.
  __device__ StagedMatrices(const PatternArguments& a, const TransferPlan& plan, int most, int64_t b, double* stage,
                            Block& block)
      : a_(a), b_(b), stage_(stage), numbers_(plan.row() * transfer_width), end_(a.length / stretch_positions) {
    for (int i = numbers_ + block.rank(); i < most * transfer_width; i += block.size()) {
      for (int slot = 0; slot < slots; ++slot) {
        stage[slot * slot_numbers + i] = 0;
      }
    }
    double unshown = 0;
    for (int64_t stretch = block.rank(); stretch < end_; stretch += block.size()) {
      unshown += has_matrix(a, b, stretch) ? 0 : 1;
    }
    first_ = static_cast<int64_t>(block.sum(unshown));
    unfetched_ = end_;
  }

  // What kernels before this one wrote is read from here on.
  __device__ void begin() {
    wait_for_kernels_before();
    for (int i = 1; i < slots; ++i) {
      fetch();
    }
    holds_ = thread() < 0 || weights_hold(a_, b_, thread(), carriers);
  }
  __device__ bool has(int64_t stretch) const { return stretch >= first_ && stretch < end_; }
  __device__ void expect() const { __pipeline_wait_prior(slots - 2); }
  __device__ const double* at(int64_t stretch) {
    fetch();  // into the room of the stretch after this one
    return slot_of(stretch);
  }
  // Whether weights hold, as far as a thread has seen.
  __device__ bool holds() const { return holds_; }

 private:
  static constexpr int carriers = chain_threads - transfer_width;

  __device__ static int thread() { return static_cast<int>(threadIdx.x) - transfer_width; }
  __device__ double* slot_of(int64_t stretch) const {
    return stage_ + static_cast<int>(end_ - 1 - stretch) % slots * slot_numbers;
  }
  __device__ void fetch() {
    constexpr int at_once = 2;
    if (thread() < 0) {
      return;
    }
    if (unfetched_ > first_) {
      --unfetched_;
      const double* from = matrix_of(a_, b_, unfetched_);
      double* to = slot_of(unfetched_);
#pragma unroll 4
      for (int i = thread() * at_once; i < numbers_; i += carriers * at_once) {
        __pipeline_memcpy_async(to + i, from + i, at_once * sizeof(double));
      }
    }
    __pipeline_commit();
  }

  const PatternArguments& a_;
  int64_t b_;
  double* stage_;
  int numbers_;
  int64_t first_ = 0, end_, unfetched_ = 0;  // stretches with matrices, and the one after those to be brought
  bool holds_ = true;
};

inline constexpr int64_t chain_bytes =
    (2 * transfer_width + StagedMatrices::slots * StagedMatrices::slot_numbers) * static_cast<int64_t>(sizeof(double));

// Of a text with a plan, by the whole block; waits for the kernels before this one. Whether weights hold, as far as a
// thread has seen.
inline __device__ bool chain_stretches(const PatternArguments& a, const PatternTable& table, int64_t b, double* shared,
                                       Block& block) {
  const TransferPlan plan{table.plan};
  const int row = plan.row();
  bool holds = true;
  const auto send = [&](auto most) {
    constexpr int entries = decltype(most)::value;
    StagedMatrices matrices(a, plan, entries, b, shared + 2 * transfer_width, block);
    send_by_stretches<entries>(a, table, b, matrices, shared, block);
    holds = matrices.holds();
  };
  if (row <= 6) {
    send(std::integral_constant<int, 6>{});
  } else if (row <= 12) {
    send(std::integral_constant<int, 12>{});
  } else if (row <= 18) {
    send(std::integral_constant<int, 18>{});
  } else if (row <= 24) {
    send(std::integral_constant<int, 24>{});
  } else {
    send(std::integral_constant<int, most_transfer_row>{});
  }
  return holds;
}

inline constexpr int most_staged_edges = 512;

// What a block that fills a stretch shares.
struct StretchRoom {
  double weights[stretch_positions * (most_transfer_classes + 1)];
  double messages[(stretch_positions + 1) * transfer_width];
  int32_t fixed[stretch_positions];
  uint8_t steps[stretch_positions * transfer_width];
  int32_t first_edge[transfer_width + 1];
  int32_t edges[2 * most_staged_edges];
};

// A table's edges in shared memory, unless they are too many; before a sync of the block.
inline __device__ void stage_edges(PatternTable& table, StretchRoom& room) {
  const int thread = static_cast<int>(threadIdx.x), edges = table.first_edge[table.states];
  if (edges > most_staged_edges) {
    return;
  }
  for (int i = thread; i <= table.states; i += static_cast<int>(blockDim.x)) {
    room.first_edge[i] = table.first_edge[i];
  }
  for (int i = thread; i < 2 * edges; i += static_cast<int>(blockDim.x)) {
    room.edges[i] = table.edges[i];
  }
  table.first_edge = room.first_edge;
  table.edges = room.edges;
}

// A stretch's weights, and what its positions are, in shared memory.
inline __device__ StretchRows stage_rows(const PatternArguments& a, const PatternTable& table, int64_t b,
                                         int64_t stretch, StretchRoom& room) {
  const int positions = stretch_size(a, stretch), width = table.classes + 1;
  const int64_t first = b * a.length + stretch * stretch_positions;
  for (int i = static_cast<int>(threadIdx.x); i < positions * width; i += static_cast<int>(blockDim.x)) {
    room.weights[i] = a.weights[(first + i / width) * a.weights_room + i % width];
  }
  bool plain = true;
  if (static_cast<int>(threadIdx.x) < positions) {
    const int32_t fixed = a.fixed[first + threadIdx.x];
    room.fixed[threadIdx.x] = fixed;
    plain = fixed == free_position || (fixed != unshown_position && table.ended < 0);
  }
  plain = __syncthreads_and(static_cast<int>(plain)) != 0;
  return {room.weights + (positions - 1) * width, width, room.fixed + positions - 1, plain};
}

template <int each>
__device__ void fill_by_warp(const PatternArguments& a, const PatternTable& table, int64_t b, int64_t stretch,
                             const StretchRows& rows, double* room) {
  Warp warp;
  const int32_t most = most_edges_of(table);
  if (most <= 2) {
    fill_stretch<each, 2>(a, table, b, stretch, rows, room, warp);
  } else if (most <= 4) {
    fill_stretch<each, 4>(a, table, b, stretch, rows, room, warp);
  } else {
    fill_stretch<each, 0>(a, table, b, stretch, rows, room, warp);
  }
}

// A stretch's messages and where its positions lead to by them; by the whole block.
inline __device__ void fill_and_choose(const PatternArguments& a, const PatternTable& table, int64_t b, int64_t stretch,
                                       StretchRoom& room, Block& block) {
  constexpr int each = transfer_width / warp_size;
  const StretchRows rows = stage_rows(a, table, b, stretch, room);
  if (threadIdx.x < warp_size) {
    fill_by_warp<each>(a, table, b, stretch, rows, room.messages);
  }
  block.sync();
  if (!take_stretch(a, table, b, stretch, room.messages, transfer_width, block)) {
    a.numbers[b] = PatternNumbers::undecided;
  }
  const int last = stretch_size(a, stretch) - 1;
  const auto choose = [&](int64_t t, int32_t state) {
    const int position = static_cast<int>(t - stretch * stretch_positions);
    return room.fixed[position] == unshown_position
               ? state
               : choose_by_chance<PatternNumbers::scaled>(table, state, room.weights + position * rows.weights_room,
                                                          room.messages + (last - position) * transfer_width,
                                                          a.uniforms[b * a.length + t])
                     .next;
  };
  choose_steps(a, table, stretch, choose, room.steps, block);
}

}  // namespace demask::kernels::cuda::launch
