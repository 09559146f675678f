// A row of a large vocabulary's logits, shared by a cluster of blocks, which tell each other what they found.
#pragma once

#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_draw_row.cuh"
#include "kernels/cuda_softmax.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int cluster_blocks = 8;  // which every device with clusters runs
inline constexpr int draw_threads = 1024, draw_warps = draw_threads / warp_size;
inline constexpr int most_stretches = 1024;  // of a row
inline constexpr int group_lanes = 8;        // of whose ids the largest counts for the block's bound
inline constexpr int groups_a_stretch = warp_size / group_lanes;
inline constexpr int most_groups = most_stretches / cluster_blocks * groups_a_stretch;
inline constexpr int most_candidates = 256;  // of a block
inline constexpr int no_id = 0x7FFFFFFF;
inline constexpr int ranking_lanes = 8;                // that share a key's rank
inline constexpr int keys_padded = 4 * ranking_lanes;  // four that a lane reads at once

// In the cluster's shared memory where `pointer` of this block's stands in block `rank`'s.
template <typename Value>
__device__ Value* in_block(Value* pointer, int rank) {
  uint64_t there = reinterpret_cast<uint64_t>(pointer);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(pointer), "r"(rank));
#endif
  return reinterpret_cast<Value*>(there);
}

inline __device__ void meet_cluster() {
  arrive_at_cluster();
  wait_for_cluster();
}

struct DrawShared {
  // What each block tells all others.
  float largest[cluster_blocks];
  uint32_t bounds[cluster_blocks];
  int counts[2][cluster_blocks];
  uint32_t candidates[cluster_blocks][most_candidates];
  // What all tell the first.
  float sums[most_stretches];
  StretchSoftmax softmax;
  int likeliest;
  // A block's own.
  float scratch[draw_warps];
  int counted[draw_warps];
  alignas(16) uint32_t groups[most_groups];
  alignas(16) uint32_t gathered[cluster_blocks * most_candidates];
  uint32_t own_candidates[most_candidates];
  int candidate_count;
  uint32_t found;
  // The first block's.
  float uniform;
  float largest_logit, total;  // of the softmax
};

// The highest key that fewer than `rank` of `count` keys exceed, the same in every thread. There is room for a multiple
// of keys_padded keys.
inline __device__ uint32_t key_of_rank(uint32_t* keys, int count, int rank, DrawShared& shared) {
  const int end = (count + keys_padded - 1) / keys_padded * keys_padded;
  for (int i = count + static_cast<int>(threadIdx.x); i < end; i += draw_threads) {
    keys[i] = 0;  // which exceeds none
  }
  if (threadIdx.x == 0) {
    shared.found = 0xFFFFFFFFU;
  }
  __syncthreads();
  const int part = static_cast<int>(threadIdx.x) % ranking_lanes;
  for (int start = 0; start < count; start += draw_threads / ranking_lanes) {
    const int own = start + static_cast<int>(threadIdx.x) / ranking_lanes;
    const uint32_t key = keys[min(own, count - 1)];
    int above = 0;
#pragma unroll 2
    for (int i = part * 4; i < end; i += keys_padded) {
      const uint4 four = *reinterpret_cast<const uint4*>(keys + i);
      above += (four.x > key ? 1 : 0) + (four.y > key ? 1 : 0) + (four.z > key ? 1 : 0) + (four.w > key ? 1 : 0);
    }
    for (int offset = ranking_lanes / 2; offset > 0; offset /= 2) {
      above += __shfl_xor_sync(all_lanes, above, offset);
    }
    if (part == 0 && above < rank) {
      atomicMin(&shared.found, key);
    }
  }
  __syncthreads();
  return shared.found;
}

// Calls f(id, value) for a lane's ids of a stretch.
template <typename F>
__device__ void for_chunk(const float* values, int first, F f) {
  LogitChunk<float> chunk;
  chunk.read_whole(values);
  float own[Stretches::chunk];
  chunk.to(own);
#pragma unroll
  for (int i = 0; i < Stretches::chunk; ++i) {
    f(first + i, own[i]);
  }
}

// A row's tempered values where the cluster's blocks keep them, for the first block.
struct KeptRow {
  float* values;  // where every block has its own stretches'
  int outputs;

  // Calls f(id, value) for a lane's ids of a stretch. Past the row's end, values are -infinity.
  template <typename F>
  __device__ void for_range(int first, int /*end*/, F f) const {
    constexpr int each = Stretches::chunk * warp_size;
    const int stretch = first / each;
    for_chunk(in_block(values + stretch / cluster_blocks * each, stretch % cluster_blocks) + first % each, first, f);
  }
};

// A block's stretches of a row: rank, rank + cluster_blocks, ... A warp takes every `draw_warps`-th of them.
template <typename T>
class ClusterRow {
 public:
  __device__ ClusterRow(const NextDrawArguments& a, float* values, DrawShared& shared)
      : a_(a.draw),
        shared_(shared),
        values_(values),
        stretches_(static_cast<int>(a.draw.logits.outputs)),
        lane_(static_cast<int>(threadIdx.x) % warp_size),
        warp_(static_cast<int>(threadIdx.x) / warp_size),
        rank_(static_cast<int>(blockIdx.x) % cluster_blocks),
        index_(blockIdx.x / cluster_blocks),
        mine_((stretches_.count - rank_ + cluster_blocks - 1) / cluster_blocks),
        row_{nullptr, a.draw.forbidden, static_cast<int>(a.draw.logits.outputs), 1, false, 0} {}

  // Before the logits are there.
  __device__ void ask_for_forbidden() const {
    for_stretches([&](int, int first) {
#if defined(__CUDA_ARCH__)
      if (first < row_.outputs) {
        asm volatile("prefetch.global.L2 [%0];" ::"l"(row_.forbidden + first));
      }
#endif
    });
  }

  // Tempered logits into shared memory, the softmax of the logits themselves to the first block, and to all what
  // find_kept needs. False where the row is broken.
  __device__ bool read() {
    row_.source = row_of<T>(a_.logits, index_);
    if (threadIdx.x == 0) {
      shared_.likeliest = no_id;  // what others tell comes after they have met
    }
    row_.temperature = temperature_of(a_, index_);
    row_.greedy = row_.temperature == 0;
    float largest = -INFINITY;
    for_stretches([&](int own, int first) { largest = fmaxf(largest, read_stretch(own, first)); });
    const auto higher = [](float one, float other) { return fmaxf(one, other); };
    largest = combine_warps(warp_max(largest), shared_.scratch, draw_warps, higher);
    const uint32_t bound = filters_top_k(a_, row_.greedy) ? bound_of_block() : 0;
    tell_all([&](int rank) {
      *in_block(&shared_.largest[rank_], rank) = largest;
      *in_block(&shared_.bounds[rank_], rank) = bound;
    });
    meet_cluster();
    row_.largest = -INFINITY;
    for (const float of_block : shared_.largest) {
      row_.largest = fmaxf(row_.largest, of_block);
    }
    return isfinite(row_.largest);
  }

  // The key of the least likely id that may be drawn.
  __device__ uint32_t find_kept() {
    if (!filters_top_k(a_, row_.greedy)) {
      return 0;
    }
    uint32_t bound = 0xFFFFFFFFU;
    for (const uint32_t of_block : shared_.bounds) {
      bound = min(bound, of_block);
    }
    const int count = gather_candidates(bound);
    const auto top_k = static_cast<int>(a_.top_k);
    return count < 0 ? key_by_bits(top_k) : key_of_rank(shared_.gathered, count, top_k, shared_);
  }

  // What the first block draws by.
  __device__ void tell_weights(uint32_t kept) {
    if (row_.greedy) {
      int lowest = no_id;
      for_values([&](int id, float x) { lowest = x == row_.largest ? min(lowest, id) : lowest; });
      for (int offset = warp_size / 2; offset > 0; offset /= 2) {
        lowest = min(lowest, __shfl_xor_sync(all_lanes, lowest, offset));
      }
      if (lane_ == 0) {
        atomicMin(in_block(&shared_.likeliest, 0), lowest);
      }
      return;
    }
    for_stretches([&](int own, int first) {
      float sum = 0;
      for_lane(own, first, [&](int, float x) { sum += weight_of(kept, x); });
      sum = warp_sum(sum);
      if (lane_ == 0) {
        *in_block(&shared_.sums[stretch_of(own)], 0) = sum;
      }
    });
  }

  // One warp of the first block, once all have told it.
  __device__ int draw(uint32_t kept) const {
    if (row_.greedy) {
      return shared_.likeliest;
    }
    float total;
    return cross_stretches(
               KeptRow{values_, row_.outputs}, stretches_, shared_.sums, &total,
               [&](int, float x) { return weight_of(kept, x); }, [&](float all) { return shared_.uniform * all; })
        .id;
  }

  // By one warp, before score().
  __device__ void merge_softmax() {
    const Softmax softmax = shared_.softmax.merged(stretches_.count);
    shared_.largest_logit = softmax.largest;
    shared_.total = softmax.total;
  }
  // The logarithm of the probability of a token.
  __device__ float score(int id) const {
    Softmax softmax;
    softmax.largest = shared_.largest_logit;
    softmax.total = shared_.total;
    softmax.nan = softmax.largest == INFINITY;
    return judged(to_float(row_.source[id]), softmax, /*logarithm=*/true, a_.broken);
  }
  __device__ int64_t index() const {
    return index_;
  }
  __device__ int rank() const {
    return rank_;
  }

 private:
  __device__ int stretch_of(int own) const {
    return rank_ + own * cluster_blocks;
  }

  // Calls f(own, first) for this warp's stretches and this lane's first id of them.
  template <typename F>
  __device__ void for_stretches(F f) const {
#pragma unroll 1
    for (int own = warp_; own < mine_; own += draw_warps) {
      f(own, stretches_.first(stretch_of(own), lane_));
    }
  }
  template <typename F>
  __device__ void for_lane(int own, int first, F f) const {
    for_chunk(values_ + (own * warp_size + lane_) * Stretches::chunk, first, f);
  }
  template <typename F>
  __device__ void for_values(F f) const {
    for_stretches([&](int own, int first) { for_lane(own, first, f); });
  }
  // Calls f(rank) for each block of the cluster, in a thread each.
  template <typename F>
  __device__ void tell_all(F f) const {
    if (threadIdx.x < cluster_blocks) {
      f(static_cast<int>(threadIdx.x));
    }
  }
  // Past the row's end, values are -infinity.
  __device__ float weight_of(uint32_t kept, float x) const {
    return ordered_key(x) >= kept ? expf(x - row_.largest) : 0.0F;
  }

  // Returns this lane's largest, infinity where one is NaN.
  __device__ float read_stretch(int own, int first) {
    constexpr int size = Stretches::chunk;
    LogitChunk<T> chunk;
    chunk.read(row_.source, first, row_.outputs, starts_chunk(row_.source));
    LogitChunk<float> forbids;
    forbids.read(row_.forbidden, first, row_.outputs, starts_chunk(row_.forbidden));
    float logits[size], forbid[size], largest = -INFINITY;
    chunk.to(logits);
    forbids.to(forbid);
    bool nan = false;
    Chunk<float>* values = reinterpret_cast<Chunk<float>*>(values_ + (own * warp_size + lane_) * size);
    Chunk<float> parts[size / Chunk<float>::size];
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const float x = first + i < row_.outputs ? row_.tempered(logits[i], forbid[i]) : -INFINITY;
      nan = nan || isnan(x);
      largest = fmaxf(largest, x);
      parts[i / Chunk<float>::size].values[i % Chunk<float>::size] = x;
    }
#pragma unroll
    for (int part = 0; part < size / Chunk<float>::size; ++part) {
      values[part] = parts[part];
    }
    Softmax softmax;
    softmax.add(logits);
    softmax = merge_lanes(softmax);
    if (lane_ == 0) {
      in_block(&shared_.softmax, 0)->put(stretch_of(own), softmax);
    }
    float of_group = largest;
    for (int offset = group_lanes / 2; offset > 0; offset /= 2) {
      of_group = fmaxf(of_group, __shfl_xor_sync(all_lanes, of_group, offset));
    }
    if (lane_ % group_lanes == 0) {
      shared_.groups[own * groups_a_stretch + lane_ / group_lanes] = ordered_key(of_group);
    }
    return nan ? INFINITY : largest;
  }

  // A key that this block's share of the top_k ids reach: by the least of all blocks' bounds, top_k ids do.
  __device__ uint32_t bound_of_block() {
    const int share = static_cast<int>((a_.top_k + cluster_blocks - 1) / cluster_blocks);
    const int groups = mine_ * groups_a_stretch;
    return share > groups ? 0 : key_of_rank(shared_.groups, groups, share, shared_);
  }

  // The keys from `bound` on of the whole row, in each block; returns how many, or -1 where they are too many.
  __device__ int gather_candidates(uint32_t bound) {
    if (threadIdx.x == 0) {
      shared_.candidate_count = 0;
    }
    __syncthreads();
    for_values([&](int, float x) {
      const uint32_t key = ordered_key(x);
      if (key >= bound) {
        const int place = atomicAdd(&shared_.candidate_count, 1);
        if (place < most_candidates) {
          shared_.own_candidates[place] = key;
        }
      }
    });
    __syncthreads();
    const int found = min(shared_.candidate_count, most_candidates);
    for (int i = static_cast<int>(threadIdx.x); i < found * cluster_blocks; i += draw_threads) {
      const int place = i / cluster_blocks;
      *in_block(&shared_.candidates[rank_][place], i % cluster_blocks) = shared_.own_candidates[place];
    }
    tell_all([&](int rank) { *in_block(&shared_.counts[0][rank_], rank) = shared_.candidate_count; });
    meet_cluster();
    int begin = 0, end = 0;  // of the block whose candidates this thread gathers
    const int of = static_cast<int>(threadIdx.x) / (draw_threads / cluster_blocks);
    bool fit = true;
    int all = 0;
    for (int rank = 0; rank < cluster_blocks; ++rank) {
      const int count = shared_.counts[0][rank];
      fit = fit && count <= most_candidates;
      begin = rank == of ? all : begin;
      all += count;
      end = rank == of ? all : end;
    }
    if (!fit) {
      return -1;
    }
    for (int at = static_cast<int>(threadIdx.x) % (draw_threads / cluster_blocks); at < end - begin;
         at += draw_threads / cluster_blocks) {
      shared_.gathered[begin + at] = shared_.candidates[of][at];
    }
    return all;
  }

  // The top_k-th highest key of the row, bit by bit, with every block's count of those that reach it.
  __device__ uint32_t key_by_bits(int top_k) {
    uint32_t key = 0;
#pragma unroll 1
    for (int bit = 31; bit >= 0; --bit) {
      const uint32_t tried = key | 1U << bit;
      int count = 0;
      for_values([&](int, float x) { count += ordered_key(x) >= tried ? 1 : 0; });
      count =
          combine_warps(warp_sum(count), shared_.counted, draw_warps, [](int one, int other) { return one + other; });
      int* const counts = shared_.counts[bit % 2];  // by turns, as another block may still read those before
      tell_all([&](int rank) { *in_block(&counts[rank_], rank) = count; });
      meet_cluster();
      int all = 0;
      for (int rank = 0; rank < cluster_blocks; ++rank) {
        all += counts[rank];
      }
      key = all >= top_k ? tried : key;
    }
    return key;
  }

  const DrawArguments& a_;
  DrawShared& shared_;
  float* values_;  // of this block's stretches
  Stretches stretches_;
  int lane_, warp_, rank_;
  int64_t index_;
  int mine_;
  Row<T, false> row_;
};

}  // namespace demask::kernels::cuda::launch
