// What the blocks of a cluster that share a row of logits tell each other, and which of some keys has a rank.
#pragma once

#include "kernels/cuda_cluster.cuh"
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

// The least value whose ordered_key is at least `key`, of values that are not NaN.
inline __device__ float least_of_key(uint32_t key) {
  return key == 0 ? -INFINITY : __uint_as_float((key & 0x80000000U) != 0 ? key ^ 0x80000000U : ~key);
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

}  // namespace demask::kernels::cuda::launch
