// Which positions of a text a step takes: a given number of the highest scores, or as many as a reveal rule says.
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_radix.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int select_threads = 256;
constexpr int reveal_threads = 512;

struct Count {
  int before;  // threads of the block before this one
  int all;
};

// Of the threads that are marked. warp_counts [threads / 32] in shared memory must not be read any more by any thread.
template <int threads>
__device__ Count count_marked(bool marked, int* warp_counts) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const unsigned those = __ballot_sync(all_lanes, marked);
  if (lane == 0) {
    warp_counts[warp] = __popc(those);
  }
  __syncthreads();
  Count count{__popc(those & ((1U << lane) - 1)), 0};
  for (int w = 0; w < threads / warp_size; ++w) {
    if (w < warp) {
      count.before += warp_counts[w];
    }
    count.all += warp_counts[w];
  }
  return count;
}

__device__ float sign_of(const RankArguments& a) {
  return a.lowest ? -1 : 1;
}

// Radix selection of the counts[b]-th highest key, then one ordered walk.
__global__ void __launch_bounds__(select_threads) highest_kernel(RankArguments a, bool* chosen) {
  __shared__ Bins<int> bins;
  __shared__ int warp_counts[select_threads / warp_size];
  const int length = static_cast<int>(a.length);
  const int64_t row = blockIdx.x;
  const float* scores = a.scores + row * a.length;
  const bool* eligible = a.eligible + row * a.length;
  chosen += row * a.length;
  const float sign = sign_of(a);
  const int count = static_cast<int>(a.counts[row * a.count_stride]);
  if (count <= 0) {
    for (int t = threadIdx.x; t < length; t += select_threads) {
      chosen[t] = false;
    }
    return;
  }
  int above;
  const uint32_t key = key_reaching(bins, count - 1, &above, [&](auto add) {
    for (int t = threadIdx.x; t < length; t += select_threads) {
      if (eligible[t]) {
        add(ordered_key(sign * scores[t]), 1);
      }
    }
  });
  int room = count - above;  // for keys equal to `key`
  for (int start = 0; start < length; start += select_threads) {
    const int t = start + threadIdx.x;
    const bool candidate = t < length && eligible[t];
    const uint32_t k = candidate ? ordered_key(sign * scores[t]) : 0;
    const bool equal = candidate && k == key;
    const Count equals = count_marked<select_threads>(equal, warp_counts);
    if (t < length) {
      chosen[t] = candidate && (k > key || (equal && equals.before < room));
    }
    room -= equals.all;
    __syncthreads();
  }
}

// Where there are few scores each position counts how many come before it, which spares the radix selection's many
// barriers: eight threads a position, over all keys in shared memory.
constexpr int rank_threads = 256, threads_a_rank = 8, ranks_a_block = rank_threads / threads_a_rank;
constexpr int64_t max_ranked_length = 4096, max_ranked_pairs = int64_t{1} << 25;

// What a ranking is for. This writes down which positions it takes;
struct MarkChosen {
  bool* chosen;

  __device__ void begin() const { let_next_begin(); }
  __device__ void end(int64_t item, bool is_chosen) const { chosen[item] = is_chosen; }
};

// this ends a step with them masked. What comes next may begin when all is written.
struct EndStep {
  EndStepArguments a;

  __device__ void begin() const {
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) {
      ++*a.step;
    }
  }
  __device__ void end(int64_t item, bool is_chosen) const {
    a.tokens[item] = is_chosen ? a.mask : a.drawn[item];
    a.masked[item] = is_chosen;
  }
};

template <typename Finish>
__global__ void __launch_bounds__(rank_threads) rank_kernel(RankArguments a, Finish finish) {
  extern __shared__ uint32_t keys[];
  wait_for_kernels_before();
  finish.begin();
  const int length = static_cast<int>(a.length);
  const int64_t row = blockIdx.x, begin = row * length;
  const float sign = sign_of(a);
  for (int t = threadIdx.x; t < length; t += rank_threads) {
    keys[t] = a.eligible[begin + t] ? max(ordered_key(sign * a.scores[begin + t]), 1U) : 0;
  }
  __syncthreads();
  const int t = static_cast<int>(blockIdx.y) * ranks_a_block + static_cast<int>(threadIdx.x) / threads_a_rank;
  const int part = static_cast<int>(threadIdx.x) % threads_a_rank;
  const uint32_t own = t < length ? keys[t] : 0;
  int before = 0;
  if (own > 0) {
    for (int s = part; s < length; s += threads_a_rank) {
      before += keys[s] > own - (s < t ? 1 : 0) ? 1 : 0;  // the lower position first among equals
    }
  }
#pragma unroll
  for (int offset = threads_a_rank / 2; offset > 0; offset /= 2) {
    before += __shfl_xor_sync(all_lanes, before, offset);
  }
  if (part == 0 && t < length) {
    finish.end(begin + t, own > 0 && before < a.counts[row * a.count_stride]);
  }
}

template <typename Finish>
void launch_ranks(const RankArguments& a, const Finish& finish, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(a.batch), blocks_for(a.length, ranks_a_block));
  launch_early(rank_kernel<Finish>, blocks, rank_threads, static_cast<size_t>(a.length) * sizeof(uint32_t), stream, a,
               finish);
}

// Systematic sampling of the marked positions, see spread() of sampling/reveal_policy.h.
__global__ void __launch_bounds__(select_threads) spread_kernel(SpreadArguments a) {
  __shared__ int warp_counts[select_threads / warp_size];
  wait_for_kernels_before();
  let_next_begin();
  const int64_t row = blockIdx.x;
  const double share = a.share[row * a.share_stride], offset = a.offset[row * a.offset_stride];
  int before = 0;
  for (int64_t start = 0; start < a.length; start += select_threads) {
    const int64_t t = start + threadIdx.x;
    const bool candidate = t < a.length && a.from[row * a.length + t];
    const Count count = count_marked<select_threads>(candidate, warp_counts);
    if (t < a.length) {
      // In the order of the tensor operations, without a fused multiplication, so that both round alike.
      const double end = __dadd_rn(__dmul_rn(before + count.before + 1, share), offset);
      const bool taken = floor(end) > floor(__dsub_rn(end, share));
      a.taken[row * a.length + t] = candidate && taken;
      a.left[row * a.length + t] = candidate && !taken;
    }
    before += count.all;
    __syncthreads();
  }
}

constexpr int at_once = 4;  // values that a thread reads, 16 bytes

// What reveal_kernel holds of a text in shared memory.
struct DrawnPositions {
  float* values;  // of those drawn, in the order of their positions
  int* slots;     // of each position: its place there or -1; then its rank
};

// Returns how many are drawn.
__device__ int gather_drawn(const float* certainty, const bool* drawn, int length, int padded,
                            const DrawnPositions& positions, int* warp_counts) {
  int size = 0;
  for (int start = 0; start < length; start += reveal_threads) {
    const int t = start + threadIdx.x;
    const bool here = t < length && drawn[t];
    const Count count = count_marked<reveal_threads>(here, warp_counts);
    const int slot = size + count.before;
    size += count.all;
    if (t < length) {
      positions.slots[t] = here ? slot : -1;
    }
    if (here) {
      positions.values[slot] = certainty[t];
    }
    __syncthreads();
  }
  if (threadIdx.x < at_once && size + static_cast<int>(threadIdx.x) < padded) {
    positions.values[size + threadIdx.x] = -INFINITY;
  }
  __syncthreads();
  return size;
}

// Ranks this thread's positions by how many come before them; returns how many of them the rule reveals.
template <RevealKind kind>
__device__ int rank_drawn(const DrawnPositions& positions, int size, int length, float bound) {
  int fulfil = 0;
  for (int t = threadIdx.x; t < length; t += reveal_threads) {
    const int slot = positions.slots[t];
    if (slot < 0) {
      continue;
    }
    const float value = positions.values[slot];
    int before = 0;
    float sum = 0;
    for (int i = 0; i < size; i += at_once) {
      const float4 four = *reinterpret_cast<const float4*>(positions.values + i);
      const float others[at_once] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        const bool first = others[k] > value || (others[k] == value && i + k > slot);
        before += first ? 1 : 0;
        if constexpr (kind == RevealKind::entropy_sum) {
          sum -= first ? others[k] : 0.0F;
        }
      }
    }
    bool reveals = false;
    if constexpr (kind == RevealKind::at_least) {
      reveals = value >= bound;
    }
    if constexpr (kind == RevealKind::factor) {
      reveals = static_cast<float>(before + 2) * (1.0F - value) < bound;
    }
    if constexpr (kind == RevealKind::entropy_sum) {
      reveals = sum <= bound;
    }
    fulfil += reveals ? 1 : 0;
    positions.slots[t] = before;  // nobody else reads it
  }
  return fulfil;
}

// One block a text. Those drawn are gathered in shared memory, and each counts how many come before it: at a few
// hundred positions that costs less than sorting them would.
template <RevealKind kind>
__global__ void __launch_bounds__(reveal_threads) reveal_kernel(RevealArguments a, float bound) {
  extern __shared__ float4 shared[];  // 16 bytes aligned
  __shared__ int warp_counts[reveal_threads / warp_size];
  __shared__ int reached;
  const int length = static_cast<int>(a.length), padded = (length + at_once - 1) / at_once * at_once;
  const auto values = reinterpret_cast<float*>(shared);
  const DrawnPositions positions{values, reinterpret_cast<int*>(values + padded)};
  const int64_t row = blockIdx.x;
  if (threadIdx.x == 0) {
    reached = 0;
  }
  const int size =
      gather_drawn(a.certainty + row * a.length, a.drawn + row * a.length, length, padded, positions, warp_counts);
  const int fulfil = rank_drawn<kind>(positions, size, length, bound);
  if (fulfil > 0) {
    atomicAdd(&reached, fulfil);
  }
  __syncthreads();
  int reveals = max(reached, 1);
  if (a.steps_left != nullptr) {
    const int left = static_cast<int>(a.steps_left[row * a.steps_left_stride]);
    reveals = min(max(reached, (size + left) / (left + 1)), max(size - left, 0));
  }
  bool* masked = a.masked + row * a.length;
  for (int t = threadIdx.x; t < length; t += reveal_threads) {
    masked[t] = positions.slots[t] >= reveals;
  }
}

}  // namespace

bool ranks_at_once(const RankArguments& a) {
  return a.length <= max_ranked_length && a.batch * a.length * a.length <= max_ranked_pairs;
}

void highest(const RankArguments& a, bool* chosen, cudaStream_t stream) {
  if (ranks_at_once(a)) {
    launch_ranks(a, MarkChosen{chosen}, stream);
    return;
  }
  highest_kernel<<<static_cast<unsigned>(a.batch), select_threads, 0, stream>>>(a, chosen);
}

void end_step_by(const RankArguments& ranked, const EndStepArguments& arguments, cudaStream_t stream) {
  launch_ranks(ranked, EndStep{arguments}, stream);
}

void spread(const SpreadArguments& arguments, int64_t batch, cudaStream_t stream) {
  launch_early(spread_kernel, dim3(static_cast<unsigned>(batch)), select_threads, 0, stream, arguments);
}

void reveal(const RevealRule& rule, const RevealArguments& arguments, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(arguments.batch);
  const auto padded = static_cast<size_t>((arguments.length + at_once - 1) / at_once * at_once);
  const size_t bytes = padded * (sizeof(float) + sizeof(int));
  const auto bound = static_cast<float>(rule.bound);
  switch (rule.kind) {
    case RevealKind::at_least:
      return reveal_kernel<RevealKind::at_least><<<blocks, reveal_threads, bytes, stream>>>(arguments, bound);
    case RevealKind::factor:
      return reveal_kernel<RevealKind::factor><<<blocks, reveal_threads, bytes, stream>>>(arguments, bound);
    case RevealKind::entropy_sum:
      reveal_kernel<RevealKind::entropy_sum><<<blocks, reveal_threads, bytes, stream>>>(arguments, bound);
  }
}

}  // namespace demask::kernels::cuda::launch
