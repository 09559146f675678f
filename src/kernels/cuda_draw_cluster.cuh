// A row of a large vocabulary's logits, shared by a cluster of blocks, which tell each other what they found.
#pragma once

#include "kernels/cuda_draw_rank.cuh"
#include "kernels/cuda_draw_row.cuh"

namespace demask::kernels::cuda::launch {

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
    largest = largest_of_block(largest);
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
    const float least = least_of_key(kept);
    for_stretches([&](int own, int first) {
      float sum = 0;
      for_lane(own, first, [&](int, float x) { sum += weight_of(least, x); });
      sum = warp_sum(sum);
      if (lane_ == 0) {
        *in_block(&shared_.sums[stretch_of(own)], 0) = sum;
      }
    });
  }

  // One warp of the first block, once all have told it: what cross_stretches finds.
  __device__ int draw(uint32_t kept) const {
    if (row_.greedy) {
      return shared_.likeliest;
    }
    const float limit = shared_.uniform * total_of_stretches(stretches_, shared_.sums);
    const Pick stretch = crossing_stretch(stretches_, shared_.sums, limit);
    if (stretch.id < 0) {
      return -1;
    }
    const float* values = in_block(values_, stretch.id % cluster_blocks) +
                          (stretch.id / cluster_blocks * warp_size + lane_) * Stretches::chunk;
    LogitChunk<float> chunk;
    chunk.read_whole(values);
    const float least = least_of_key(kept);
    float weights[Stretches::chunk], sum = 0;
    chunk.to(weights);
#pragma unroll
    for (float& weight : weights) {
      weight = weight_of(least, weight);
      sum += weight;
    }
    Walk over_lanes{};
    over_lanes.below = stretch.below;
    over_lanes.pass(0, sum, limit, lane_);
    const Pick owner = over_lanes.drawn();
    float below = owner.below;
    int crossing = -1;
    bool exceeded = false;
#pragma unroll
    for (int i = 0; i < Stretches::chunk; ++i) {  // of the owner this counts
      if (!exceeded && weights[i] > 0) {
        below += weights[i];
        crossing = stretches_.first(stretch.id, lane_) + i;
        exceeded = below > limit;
      }
    }
    return __shfl_sync(all_lanes, crossing, owner.id);
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
    const float* values = values_ + (own * warp_size + lane_) * Stretches::chunk;
#pragma unroll 1
    for (int part = 0; part < Stretches::chunk; part += Chunk<float>::size) {
      const Chunk<float> some = load(values + part);
#pragma unroll
      for (int i = 0; i < Chunk<float>::size; ++i) {
        f(first + part + i, some.values[i]);
      }
    }
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
  __device__ float weight_of(float least, float x) const {
    return x >= least ? expf(x - row_.largest) : 0.0F;
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
    float tempered[size];
#pragma unroll
    for (int i = 0; i < size; ++i) {
      tempered[i] = logits[i] + forbid[i];
    }
    if (!row_.greedy && row_.temperature != 1) {
#pragma unroll
      for (float& x : tempered) {
        x /= row_.temperature;
      }
    }
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const float x = first + i < row_.outputs ? tempered[i] : -INFINITY;
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

  __device__ float largest_of_block(float own) {
    static_assert(draw_warps == warp_size);
    own = warp_max(own);
    if (lane_ == 0) {
      shared_.scratch[warp_] = own;
    }
    __syncthreads();
    return warp_max(shared_.scratch[lane_]);
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
    const float least = least_of_key(bound);
    for_values([&](int, float x) {
      if (x >= least) {
        const int place = atomicAdd(&shared_.candidate_count, 1);
        if (place < most_candidates) {
          shared_.own_candidates[place] = ordered_key(x);
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
