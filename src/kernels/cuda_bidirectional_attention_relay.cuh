// Attention of few queries, see kernels/cuda_bidirectional_attention.cu. A block takes one unit, and where there are no
// more units than multiprocessors, what takes time is that each part of the keys waits for the part before. Here three
// warpgroups take the parts in turns. What a part needs to know of those before is little, and one tells the next: the
// score that a row's powers are taken against, and the sum of its powers. A fourth adds up the values, by weights that
// come to it through shared memory.
#pragma once

#include "kernels/cuda_bidirectional_attention_kernel.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int weighing_groups = 3, relay_threads = (weighing_groups + 1) * warpgroup_threads;
inline constexpr int most_relay_stages = 5;
inline constexpr int weights_bytes = part_keys / tile_inner * box_bytes;  // of a part's weights, rounded

struct RelayBarriers {
  TileBarrier queries, keys[most_relay_stages], values[most_relay_stages];  // that they are there
  TileBarrier values_read[most_relay_stages], weights[weighing_groups], weights_read[weighing_groups];

  // One thread's work. Each is named in the code, as the compiler fences every round of a loop.
  __device__ void start() {
    queries.start(1);
#pragma unroll
    for (int stage = 0; stage < most_relay_stages; ++stage) {
      keys[stage].start(1);
      values[stage].start(1);
      values_read[stage].start(warpgroup_warps);
    }
#pragma unroll
    for (int group = 0; group < weighing_groups; ++group) {
      weights[group].start(warpgroup_warps);
      weights_read[group].start(warpgroup_warps);
    }
    fence_barriers();
  }
};

// What threads tell those of other warpgroups that have the same two rows.
struct Told {
  float2 largest[warpgroup_threads], powers[warpgroup_threads];  // of the parts so far: see raised and add_powers
  float2 before[weighing_groups][warpgroup_threads];             // what the values' sums of the parts before count
};

// Shared memory: queries; a part's weights of each warpgroup; the stages of keys; those of values; the rest.
struct RelayRoom {
  char* begin;
  int stages;
  __host__ __device__ int bytes() const {
    return box_bytes + weighing_groups * weights_bytes + stages * 2 * part_bytes +
           static_cast<int>(sizeof(Told) + sizeof(RelayBarriers));
  }
  __device__ char* queries() const { return begin; }
  __device__ char* weights(int group) const { return begin + box_bytes + group * weights_bytes; }
  __device__ char* keys(int stage) const { return weights(weighing_groups) + stage * part_bytes; }
  __device__ char* values(int stage) const { return keys(stages) + stage * part_bytes; }
  __device__ Told& told() const { return *reinterpret_cast<Told*>(values(stages)); }
  __device__ RelayBarriers& barriers() const { return *reinterpret_cast<RelayBarriers*>(&told() + 1); }
};

// The barriers at which one warpgroup waits for another: the first of these numbers for each of those that weigh.
inline constexpr int largest_told = 1, powers_told = largest_told + weighing_groups,
                     all_powers_told = powers_told + weighing_groups;
inline __device__ void wait_for_group(int barrier) {
  wait_for_threads(barrier, 2 * warpgroup_threads);
}
inline __device__ void let_group_go_on(int barrier) {
  arrive_at_threads(barrier, 2 * warpgroup_threads);
}

// A whole warp's work.
struct RelayCopier {
  const RelayRoom& room;
  const CUtensorMap& queries;
  const CUtensorMap& keys;
  const Unit& unit;

  __device__ void copy_keys(int part, int stage) const {
    TileBarrier& there = room.barriers().keys[stage];
    if (speaks_for_warp()) {
      there.arrive_and_expect(part_bytes);
      load_tile(room.keys(stage), keys, unit.key_column, part * part_keys, unit.text, there);
    }
  }
  __device__ void copy_values(int part, int stage) const {
    TileBarrier& there = room.barriers().values[stage];
    if (speaks_for_warp()) {
      there.arrive_and_expect(part_bytes);
      load_tile(room.values(stage), keys, unit.value_column, part * part_keys, unit.text, there);
    }
  }
  // What there is room for.
  __device__ void begin() const {
    TileBarrier& there = room.barriers().queries;
    if (speaks_for_warp()) {
      there.arrive_and_expect(box_bytes);
      load_tile(room.queries(), queries, unit.head * attention_head, unit.query, unit.text, there);
    }
    for (int part = 0; part < room.stages; ++part) {
      copy_keys(part, part);
    }
    for (int part = 0; part < room.stages; ++part) {
      copy_values(part, part);
    }
  }
  // The part that takes this one's place, once its values have been read. Its keys have by then.
  __device__ void go_on(int part, const Turn& turn) const {
    copy_keys(part + room.stages, turn.stage);
    room.barriers().values_read[turn.stage].wait(turn.parity);
    copy_values(part + room.stages, turn.stage);
  }
};

// One of the warpgroups that weigh keys: every third part.
template <typename T>
struct WeighingGroup {
  const RelayRoom& room;
  const AttentionWork& work;
  int group, thread;
  Turn keys_turn;

  __device__ void make_scores(PartScores& scores) {
    room.barriers().queries.wait(0);  // here, so that what the loop needs is found out while they are on their way
    room.barriers().keys[keys_turn.stage].wait(keys_turn.parity);
    begin_products();
    multiply_boxes<T>(scores, tile_of(room.queries()), tile_of(room.keys(keys_turn.stage)), /*adds=*/false);
    end_group_of_products();
    for (int part = 0; part < weighing_groups; ++part) {
      keys_turn.next(room.stages);
    }
    wait_for_products<0>();
  }

  // What a row's powers are taken against, as soon as this part's scores are there; the next part waits for it.
  __device__ float2 raise(const PartScores& scores, int part, float2& before) const {
    const float2 largest{largest_score(scores, 0), largest_score(scores, 1)};
    float2 kept{-INFINITY, -INFINITY};
    if (part > 0) {
      wait_for_group(largest_told + group);
      kept = room.told().largest[thread];
    }
    const float2 now{raised(kept.x, largest.x, work.scale), raised(kept.y, largest.y, work.scale)};
    if (part + 1 < work.parts) {
      room.told().largest[thread] = now;
      let_group_go_on(largest_told + (group + 1) % weighing_groups);
    }
    before = float2{power_of_two((kept.x - now.x) * work.scale), power_of_two((kept.y - now.y) * work.scale)};
    return now;
  }

  // Rounded, for the warpgroup that adds up values.
  __device__ void hand_over(const PartScores& powers, const float2& before) const {
    room.told().before[group][thread] = before;
    round_sums<T, part_keys>(room.weights(group), powers);
    fence_shared_for_copies();
    __syncwarp();
    if (thread % warp_size == 0) {
      room.barriers().weights[group].arrive();
    }
  }

  __device__ void add(const PartScores& powers, int part, const float2& before) const {
    float2 sum{0, 0};
    if (part > 0) {
      wait_for_group(powers_told + group);
      sum = room.told().powers[thread];
    }
    room.told().powers[thread] = float2{add_powers(powers, 0, sum.x, before.x), add_powers(powers, 1, sum.y, before.y)};
    let_group_go_on(part + 1 < work.parts ? powers_told + (group + 1) % weighing_groups : all_powers_told);
  }

  __device__ void weigh_parts() {
    uint32_t parity = 1;  // of the weights before, read: at first there are none
#pragma unroll 1
    for (int part = group; part < work.parts; part += weighing_groups) {
      PartScores scores;
      make_scores(scores);
      if (part + 1 == work.parts && work.length % part_keys != 0) {
        leave_out(scores, work.length - part * part_keys);
      }
      float2 before;
      const float2 against = raise(scores, part, before);
      room.barriers().weights_read[group].wait(parity);
      parity ^= 1;
      take_powers(scores, 0, against.x, work.scale);
      take_powers(scores, 1, against.y, work.scale);
      hand_over(scores, before);
      add(scores, part, before);
    }
  }
};

// The warpgroup that adds up values by their weights, and writes the unit's result.
template <typename T>
struct AddingGroup {
  const RelayRoom& room;
  const AttentionWork& work;
  const RelayCopier& copier;
  const Unit& unit;
  int thread, warp;

  // Rescales the sums where a row of the warp's needs it.
  __device__ void rescale(float (&sums)[attention_head / 2], const float2& before) const {
    if (__any_sync(all_lanes, before.x != 1 || before.y != 1)) {
#pragma unroll
      for (int i = 0; i < attention_head / 2; ++i) {
        sums[i] *= i / 2 % 2 == 0 ? before.x : before.y;
      }
    }
  }

  // Queues a part's products.
  __device__ void begin_sums(float (&sums)[attention_head / 2], int group, int stage, bool adds) const {
    constexpr int at_once = 16, steps_a_box = tile_inner / at_once;  // keys of an instruction
    const uint64_t weights = tile_of(room.weights(group)), values = tile_of(room.values(stage));
    begin_products();
#pragma unroll
    for (int k = 0; k < part_keys / at_once; ++k) {
      const int bytes = k / steps_a_box * box_bytes + k % steps_a_box * at_once * static_cast<int>(sizeof(T));
      multiply_weights<T>(sums, further(weights, bytes), further(values, k * at_once * tile_row_bytes),
                          adds || k > 0 ? 1 : 0);
    }
    end_group_of_products();
  }

  // The last part's products may be under way when this returns.
  __device__ void add_parts(float (&sums)[attention_head / 2]) const {
    RelayBarriers& barriers = room.barriers();
    Turn values_turn(0, room.stages), group_turn(0, weighing_groups), last_values = values_turn;
    int last_group = 0;
#pragma unroll 1
    for (int part = 0; part < work.parts; ++part) {
      wait_for_products<0>();
      if (part > 0 && thread % warp_size == 0) {
        barriers.weights_read[last_group].arrive();
        barriers.values_read[last_values.stage].arrive();
      }
      barriers.values[values_turn.stage].wait(values_turn.parity);
      barriers.weights[group_turn.stage].wait(group_turn.parity);
      if (part > 0) {
        rescale(sums, room.told().before[group_turn.stage][thread]);
      }
      begin_sums(sums, group_turn.stage, values_turn.stage, part > 0);
      if (warp == 0 && part > 0 && part - 1 + room.stages < work.parts) {
        copier.go_on(part - 1, last_values);
      }
      last_values = values_turn;
      last_group = group_turn.stage;
      values_turn.next(room.stages);
      group_turn.next(weighing_groups);
    }
  }

  // Rounds and writes. Lanes of even and odd columns exchange pairs, so that each writes four values at once and a row
  // gets 32 bytes.
  __device__ void write(const float (&sums)[attention_head / 2], T* mixed, const float2& share) const {
    const int lane = thread % warp_size, row = unit.query + thread / warp_size * 16 + lane / 4;
    const bool odd = lane % 2 != 0;
    const int64_t out_row = work.heads * attention_head;
    T* to = mixed + (static_cast<int64_t>(unit.text) * work.length + row) * out_row + unit.head * attention_head +
            (odd ? 8 : 0) + lane % 4 / 2 * 4;
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      const float by = below == 0 ? share.x : share.y;
      const auto pair = [&](int j) {
        return round_pair<T>(sums[4 * j + 2 * below] * by, sums[4 * j + 2 * below + 1] * by);
      };
#pragma unroll
      for (int j = 0; j < attention_head / 8; j += 2) {
        const uint32_t first = pair(j), second = pair(j + 1);
        const uint32_t other = __shfl_xor_sync(all_lanes, odd ? first : second, 1);
        if (row + 8 * below < work.length) {
          *reinterpret_cast<uint2*>(to + 8 * below * out_row + 8 * j) =
              odd ? uint2{other, second} : uint2{first, other};
        }
      }
    }
  }

  __device__ void add_and_write(T* mixed) const {
    float sums[attention_head / 2];
    add_parts(sums);
    wait_for_group(all_powers_told);
    const float2 powers = room.told().powers[thread];
    const float2 share{share_of(powers.x), share_of(powers.y)};
    wait_for_products<0>();
    write(sums, mixed, share);
  }
};

// mixed [batch, length, heads * 64], by a block for each unit.
template <typename T>
__global__ void __launch_bounds__(relay_threads, 1)
    relay_attention_kernel(const __grid_constant__ CUtensorMap queries, const __grid_constant__ CUtensorMap keys,
                           T* mixed, AttentionWork work) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // else the instructions are not there, and has_tile_products says so
  extern __shared__ __align__(tile_alignment) char shared[];
  let_next_begin();
  const RelayRoom room{shared, work.stages};
  const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads;
  const int warp_of_block = number_of_warp(), group = warp_of_block / warpgroup_warps;
  const int warp = warp_of_block % warpgroup_warps;
  if (group == weighing_groups && thread == 0) {
    prefetch_map(queries);
    prefetch_map(keys);
    room.barriers().start();
  }
  const Unit unit(work, static_cast<int>(blockIdx.x));
  __syncthreads();
  if (group < weighing_groups) {
    WeighingGroup<T>{room, work, group, thread, Turn(group, room.stages)}.weigh_parts();
    return;
  }
  const RelayCopier copier{room, queries, keys, unit};
  if (warp == 0) {
    wait_for_kernels_before();
    copier.begin();
  }
  AddingGroup<T>{room, work, copier, unit, thread, warp}.add_and_write(mixed);
#endif
}

}  // namespace demask::kernels::cuda::launch
