// The kernel of attention in which every query sees every key, for heads of 64 values, see
// kernels/cuda_bidirectional_attention.cu. Scores never leave registers (Dao et al. 2022); groups of warps that
// multiply in turns are FlashAttention-3's (Shah et al. 2024), and that sums are rescaled only where powers would leave
// their range is FlashAttention-4's.
#pragma once

#include "kernels/cuda_bidirectional_attention_rows.cuh"
#include "kernels/cuda_finish.cuh"

namespace demask::kernels::cuda::launch {

// What a warpgroup has found for its 64 queries. A thread's rows and columns are those of multiply_tiles; `weights` is
// its own part of a row's sum.
struct Attended {
  float sums[attention_head / 2];
  float largest[2], weights[2];  // the score that a row's powers are taken against; what is divided by in the end
};

// A warpgroup's way through the keys of a piece.
template <typename T, typename Own>
struct AttentionGroup {
  const AttentionRoom<Own> room;
  const AttentionCopier<Own>& copier;
  const AttentionWork& work;
  HeadStages stages;  // of its head, where a piece may cross
  Turn keys_turn, values_turn;

  // Found anew, as registers are few.
  static __device__ int group() { return static_cast<int>(threadIdx.x) / warpgroup_threads; }

  __device__ AttentionBarriers& barriers() const { return room.barriers(); }

  __device__ void next(Turn& turn) const {
    if constexpr (Own::crosses) {
      if (++turn.stage == stages.first + stages.count) {
        turn.stage = stages.first;
        turn.parity ^= 1;
      }
    } else {
      turn.next(work.stages);
    }
  }

  // Queues the next keys' scores.
  __device__ void begin_scores(PartScores& scores, uint64_t queries) {
    barriers().keys[keys_turn.stage].wait(keys_turn.parity);
    const uint64_t keys = tile_of(room.keys(keys_turn.stage));
    begin_products();
    multiply_boxes<T>(scores, queries, keys, /*adds=*/false);
    end_group_of_products();
  }
  __device__ void end_scores() {
    if (threadIdx.x % warp_size == 0) {
      barriers().keys_read[keys_turn.stage].arrive();
    }
    next(keys_turn);
  }

  __device__ void begin_sums(Attended& found, const uint32_t (&weights)[part_keys / 4], bool adds) {
    barriers().values[values_turn.stage].wait(values_turn.parity);
    const uint64_t values = tile_of(room.values(values_turn.stage));
    begin_products();
#pragma unroll
    for (int k = 0; k < part_keys / 16; ++k) {
      multiply_weights<T>(found.sums, weights[4 * k], weights[4 * k + 1], weights[4 * k + 2], weights[4 * k + 3],
                          further(values, k * 16 * tile_row_bytes), adds || k > 0 ? 1 : 0);
    }
    end_group_of_products();
  }
  __device__ void end_sums() {
    if (threadIdx.x % warp_size == 0) {
      barriers().values_read[values_turn.stage].arrive();
    }
    next(values_turn);
  }

  // Scores become weights. What was found of the parts before then counts `before` times.
  __device__ void weigh(Attended& found, PartScores& scores, float (&before)[2]) const {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const float kept = found.largest[row];
      found.largest[row] = raised(kept, largest_score(scores, row), work.scale);
      before[row] = power_of_two((kept - found.largest[row]) * work.scale);
    }
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      take_powers(scores, row, found.largest[row], work.scale);
      found.weights[row] = add_powers(scores, row, found.weights[row], before[row]);
    }
  }

  // Waits for the sums of the parts before, and rescales them where a row of the warp's needs it.
  __device__ void add_up(Attended& found, const float (&before)[2]) {
    wait_for_products<0>();
    end_sums();
    if (__any_sync(all_lanes, before[0] != 1 || before[1] != 1)) {
#pragma unroll
      for (int i = 0; i < attention_head / 2; ++i) {
        found.sums[i] *= before[i / 2 % 2];
      }
    }
  }

  // A warpgroup's products stand together in the tensor cores' queue, so that another's powers go on beside them.
  static constexpr int turn_barrier = 1 + Own::groups;
  __device__ void begin_turn() const {
    if constexpr (!Own::alone) {
      wait_for_threads(turn_barrier + group(), 2 * warpgroup_threads);
    }
  }
  __device__ void end_turn() const {
    if constexpr (!Own::alone) {
      arrive_at_threads(turn_barrier + (group() + 1) % Own::groups, 2 * warpgroup_threads);
    }
  }

  // One part of the keys, whose scores are there. The next part's are made while this one's sums are.
  template <bool more>
  __device__ void step(Attended& found, PartScores& scores, uint64_t queries, int part) {
    if (!more && work.length % part_keys != 0) {
      leave_out(scores, work.length - part * part_keys);
    }
    float before[2];
    weigh(found, scores, before);
    if (part > 0) {
      add_up(found, before);
    }
    uint32_t weights[part_keys / 4];
#pragma unroll
    for (int i = 0; i < part_keys / 4; ++i) {
      weights[i] = round_pair<T>(scores[2 * i], scores[2 * i + 1]);
    }
    if (more) {
      begin_turn();
      begin_scores(scores, queries);
    }
    begin_sums(found, weights, part > 0);
    if (more) {
      end_turn();
      if (Own::alone && threadIdx.x == 0) {
        copier.go_on(work, part);
      }
      wait_for_products<1>();
      end_scores();
    }
  }

  __device__ void attend(Attended& found, const char* from) {
    const uint64_t queries = tile_of(from);
    PartScores scores;
    found.largest[0] = found.largest[1] = -INFINITY;
    found.weights[0] = found.weights[1] = 0;
    begin_scores(scores, queries);
    wait_for_products<0>();
    end_scores();
    int part = 0;
    for (; part + 1 < work.parts; ++part) {
      step<true>(found, scores, queries, part);
    }
    step<false>(found, scores, queries, part);
    wait_for_products<0>();
    end_sums();
  }
};

// Divides a row's sums by its weights.
inline __device__ void share_out(Attended& found) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const float share = share_of(found.weights[row]);
#pragma unroll
    for (int j = 0; j < attention_head / 8; ++j) {
      found.sums[4 * j + 2 * row] *= share;
      found.sums[4 * j + 2 * row + 1] *= share;
    }
  }
}

template <typename T, typename Own>
__device__ void attend_pieces(const AttentionCopier<Own>& copier, const CUtensorMap& out, const AttentionWork& work,
                              int group) {
  const AttentionRoom<Own>& room = copier.room;
  HeadStages stages{0, work.stages};
  if constexpr (Own::crosses) {
    const int crossing = first_crossing<Own>(work);
    stages = head_stages(work.stages, crossing < Own::groups ? 2 : 1, group < crossing ? 0 : 1);
  }
  const Turn first(stages.first, work.stages);
  AttentionGroup<T, Own> own{copier.room, copier, work, stages, first, first};
  if (group == Own::groups - 1) {
    own.end_turn();
  }
  int count = 0;
  for (int number = static_cast<int>(blockIdx.x); number < work.pieces; number += static_cast<int>(gridDim.x)) {
    const int buffer = count % Own::query_buffers;
    char* queries = room.queries(buffer) + group * box_bytes;
    room.barriers().queries[buffer].wait(count / 2 & 1);
    Attended found;
    own.attend(found, queries);
    share_out(found);
    wait_for_threads(1 + group, warpgroup_threads);  // until all have read the queries
    round_sums<T, attention_head>(queries, found.sums);
    fence_shared_for_copies();
    wait_for_threads(1 + group, warpgroup_threads);
    if (threadIdx.x % warpgroup_threads == 0) {
      const int number_of_unit = number * Own::groups + group;
      if (number_of_unit < work.units) {
        const Unit unit(work, number_of_unit);
        store_tile(out, unit.head * attention_head, unit.query, unit.text, queries);
        end_group_of_stores();
        wait_for_stores();
      }
      room.barriers().queries_read[buffer].arrive();
    }
    ++count;
  }
}

template <typename Own>
__device__ void start_barriers(AttentionBarriers& barriers, const AttentionWork& work) {
  const int crossing = Own::crosses ? first_crossing<Own>(work) : Own::groups;
  for (int stage = 0; stage < work.stages; ++stage) {
    const bool of_second = crossing < Own::groups && stage >= work.stages / 2;
    const int readers = warpgroup_warps * (of_second ? Own::groups - crossing : crossing);
    barriers.keys[stage].start(1);
    barriers.values[stage].start(1);
    barriers.keys_read[stage].start(readers);
    barriers.values_read[stage].start(readers);
  }
  for (int buffer = 0; buffer < Own::query_buffers; ++buffer) {
    barriers.queries[buffer].start(1);
    barriers.queries_read[buffer].start(Own::groups);
  }
  fence_barriers();
}

template <typename T, typename Own>
__global__ void __launch_bounds__(Own::threads, Own::blocks)
    bidirectional_attention_kernel(const __grid_constant__ CUtensorMap queries,
                                   const __grid_constant__ CUtensorMap keys, const __grid_constant__ CUtensorMap out,
                                   AttentionWork work) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  let_next_begin();
  const AttentionRoom<Own> room{shared, work.stages};
  const AttentionCopier<Own> copier{room, queries, keys};
  constexpr int copying = Own::alone ? 0 : Own::groups * warpgroup_threads;
  if (threadIdx.x == copying) {
    prefetch_map(queries);
    prefetch_map(keys);
    start_barriers<Own>(room.barriers(), work);
    if constexpr (Own::alone) {
      wait_for_kernels_before();
      copier.begin_piece(work);
    }
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / warpgroup_threads;
  if constexpr (Own::alone) {
    attend_pieces<T, Own>(copier, out, work, 0);
  } else if (group == Own::groups) {
    give_registers<Own::copying_registers>();
    if (threadIdx.x == copying) {
      wait_for_kernels_before();
      if constexpr (Own::crosses) {
        copier.copy_crossing_piece(work);
      } else {
        copier.copy_pieces(work);
      }
    }
  } else {
    take_registers<Own::multiplying_registers>();
    attend_pieces<T, Own>(copier, out, work, group);
  }
#endif
}

}  // namespace demask::kernels::cuda::launch
