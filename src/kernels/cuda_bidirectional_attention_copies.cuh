// What a block of attention copies and when, see kernels/cuda_bidirectional_attention_kernel.cuh.
#pragma once

#include <cstdint>

#include "kernels/cuda_early.cuh"
#include "kernels/cuda_tile_product_kernel.cuh"

namespace demask::kernels::cuda::launch {

// A head's keys are taken in parts of so many, whatever the number of texts.
inline constexpr int part_keys = 128;
inline constexpr int part_bytes = part_keys * tile_row_bytes;
inline constexpr int most_part_stages = 6;

// Queries come in units of 64 neighbours of a head, one a warpgroup, and what a block takes at a time is a piece of
// `groups` units. Two or three warpgroups share the keys and values that one more copies, and the block takes every
// gridDim.x-th piece. One alone copies itself and takes one piece; three such blocks share a multiprocessor. Units are
// numbered head by head. Where a piece may reach into the next head (`crosses`), a block takes one piece alone and its
// stages are divided between both heads.
template <int own_groups, bool own_crosses = false>
struct AttentionDivision {
  static constexpr int groups = own_groups;
  static constexpr bool alone = groups == 1, crosses = own_crosses;
  static constexpr int threads = warpgroup_threads * (alone ? 1 : groups + 1), blocks = alone ? 3 : 1;
  static constexpr int copying_registers = 24, multiplying_registers = groups == 2 ? 240 : 160;
  static constexpr int queries = groups * group_rows, query_bytes = groups * box_bytes;
  static constexpr int query_buffers = alone || crosses ? 1 : 2;
};

struct AttentionWork {
  int length, heads, key_heads;  // a text's tokens, its heads of queries, its heads of keys
  int units, units_a_head, pieces, parts, stages;
  float scale;  // of scores, with the logarithm of e to base 2 in it
};

struct AttentionBarriers {
  TileBarrier keys[most_part_stages], values[most_part_stages];
  TileBarrier keys_read[most_part_stages], values_read[most_part_stages];
  TileBarrier queries[2], queries_read[2];
};

// Shared memory: queries, whose results take their place; the stages of keys; those of values; barriers.
template <typename Own>
struct AttentionRoom {
  char* begin;
  int stages;
  __host__ __device__ int bytes() const {
    return Own::query_buffers * Own::query_bytes + stages * 2 * part_bytes +
           static_cast<int>(sizeof(AttentionBarriers));
  }
  __device__ char* queries(int buffer) const { return begin + buffer * Own::query_bytes; }
  __device__ char* keys(int stage) const { return queries(Own::query_buffers) + stage * part_bytes; }
  __device__ char* values(int stage) const { return keys(stages) + stage * part_bytes; }
  __device__ AttentionBarriers& barriers() const { return *reinterpret_cast<AttentionBarriers*>(values(stages)); }
};

// Where a unit's queries stand, and the first columns of its keys and values.
struct Unit {
  int text, head, query, key_column, value_column;
  __device__ Unit(const AttentionWork& work, int number) {
    const int heads_before = number / work.units_a_head;
    text = heads_before / work.heads;
    head = heads_before % work.heads;
    query = number % work.units_a_head * group_rows;
    const int key_head = head / (work.heads / work.key_heads);
    key_column = (work.heads + key_head) * attention_head;
    value_column = key_column + work.key_heads * attention_head;
  }
};

// The stages of one of the heads that a block takes keys of.
struct HeadStages {
  int first, count;
};
// Of so many heads, the head'th one's.
inline __device__ HeadStages head_stages(int stages, int heads, int head) {
  const int count = heads == 1 ? stages : stages / 2;
  return {head * count, count};
}
// Of a block's only piece: which unit of its groups is the first of another head; `groups` where all are of one head.
template <typename Own>
__device__ int first_crossing(const AttentionWork& work) {
  const int before = static_cast<int>(blockIdx.x) * Own::groups;
  const int left = work.units_a_head - before % work.units_a_head;
  return before + left < work.units ? min(left, Own::groups) : Own::groups;
}

// One thread's work: the matrices of queries and of keys and values, which are the same but for their boxes.
template <typename Own>
struct AttentionCopier {
  const AttentionRoom<Own>& room;
  const CUtensorMap& queries;
  const CUtensorMap& keys;

  __device__ void copy_queries(const AttentionWork& work, int piece, int buffer) const {
    TileBarrier& there = room.barriers().queries[buffer];
    there.arrive_and_expect(Own::query_bytes);
    for (int group = 0; group < Own::groups; ++group) {
      const Unit unit(work, min(piece * Own::groups + group, work.units - 1));
      load_tile(room.queries(buffer) + group * box_bytes, queries, unit.head * attention_head, unit.query, unit.text,
                there);
    }
  }
  __device__ void copy_keys(const Unit& piece, int part, int stage) const {
    TileBarrier& there = room.barriers().keys[stage];
    there.arrive_and_expect(part_bytes);
    load_tile(room.keys(stage), keys, piece.key_column, part * part_keys, piece.text, there);
  }
  __device__ void copy_values(const Unit& piece, int part, int stage) const {
    TileBarrier& there = room.barriers().values[stage];
    there.arrive_and_expect(part_bytes);
    load_tile(room.values(stage), keys, piece.value_column, part * part_keys, piece.text, there);
  }

  // All that a block needs, where a warpgroup copies.
  __device__ void copy_pieces(const AttentionWork& work) const {
    AttentionBarriers& barriers = room.barriers();
    Turn turn(0, work.stages);
    bool first_round = true;
    int count = 0;
    for (int number = static_cast<int>(blockIdx.x); number < work.pieces; number += static_cast<int>(gridDim.x)) {
      const Unit piece(work, number * Own::groups);
      if (count >= 2) {
        barriers.queries_read[count % 2].wait(count / 2 + 1 & 1);
      }
      copy_queries(work, number, count % 2);
      ++count;
      for (int part = 0; part < work.parts; ++part) {
        if (!first_round) {
          barriers.keys_read[turn.stage].wait(turn.parity ^ 1);
        }
        copy_keys(piece, part, turn.stage);
        if (!first_round) {
          barriers.values_read[turn.stage].wait(turn.parity ^ 1);
        }
        copy_values(piece, part, turn.stage);
        turn.next(work.stages);
        first_round = first_round && turn.stage != 0;
      }
    }
  }

  // All that a block needs for its only piece, of one head or two.
  __device__ void copy_crossing_piece(const AttentionWork& work) const {
    const int piece = static_cast<int>(blockIdx.x), crossing = first_crossing<Own>(work);
    const int heads = crossing < Own::groups ? 2 : 1;
    copy_queries(work, piece, 0);
    for (int part = 0; part < work.parts; ++part) {
      for (int head = 0; head < heads; ++head) {
        const Unit unit(work, piece * Own::groups + head * crossing);
        const HeadStages own = head_stages(work.stages, heads, head);
        const Turn turn(part, own.count);
        const int stage = own.first + turn.stage;
        if (part >= own.count) {
          room.barriers().keys_read[stage].wait(turn.parity ^ 1);
        }
        copy_keys(unit, part, stage);
        if (part >= own.count) {
          room.barriers().values_read[stage].wait(turn.parity ^ 1);
        }
        copy_values(unit, part, stage);
      }
    }
  }

  // The only piece of a warpgroup that copies itself: what there is room for.
  __device__ void begin_piece(const AttentionWork& work) const {
    const Unit piece(work, static_cast<int>(blockIdx.x));
    copy_queries(work, static_cast<int>(blockIdx.x), 0);
    for (int part = 0; part < min(work.stages, work.parts); ++part) {
      copy_keys(piece, part, part);
      copy_values(piece, part, part);
    }
  }
  // While this part's sums are made, its keys and the values before it make room.
  __device__ void go_on(const AttentionWork& work, int part) const {
    if (part + work.stages > work.parts) {
      return;
    }
    const Unit piece(work, static_cast<int>(blockIdx.x));
    if (part + work.stages < work.parts) {
      const Turn turn(part, work.stages);
      room.barriers().keys_read[turn.stage].wait(turn.parity);
      copy_keys(piece, part + work.stages, turn.stage);
    }
    if (part > 0) {
      const Turn turn(part - 1, work.stages);
      room.barriers().values_read[turn.stage].wait(turn.parity);
      copy_values(piece, part - 1 + work.stages, turn.stage);
    }
  }
};

}  // namespace demask::kernels::cuda::launch
