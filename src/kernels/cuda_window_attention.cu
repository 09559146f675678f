// Attention of a window of positions to whole texts whose keys and values are kept: what is kept of the other positions
// is asked for before the window's own queries are there. The keys of a head are split among the blocks of a cluster by
// the text's length alone. A block has a softmax of its own (Milakov and Gimelshein 2018, arXiv 1805.02867), its warps
// share the keys for scores and the columns for mixtures. Each block merges some of the rows, to which the others send
// what they have found, in one order, so that a text's result depends on no other.
#include <cfloat>

#include "kernels/cuda_early.cuh"
#include "kernels/cuda_finish.cuh"
#include "kernels/cuda_window_rows.cuh"

namespace demask::kernels::cuda::launch {
namespace {

template <bool transposed>
__device__ void load_fragments(unsigned (&out)[4], const void* lane_row) {
  const uint32_t at = shared_address(lane_row);
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
  }
}

// Scores and weights of 16 rows and every sets-th group of keys, a warp's. A lane has the row lane / 4 and the eighth
// after it, of a group the keys 2 (lane % 4) and the next.
template <typename T, int tiles>
struct WindowScores {
  using Room = WindowRoom<T, tiles>;
  static constexpr int steps = window_width / 16, groups = round_keys / group_keys / Room::sets;
  unsigned queries[steps][4];
  float scores[groups][tile_values];
  float most[2] = {-FLT_MAX, -FLT_MAX}, total[2] = {};
  int lane, row, set;  // row: the lane's first

  __device__ WindowScores() {
    const int warp = static_cast<int>(threadIdx.x) / warp_size;
    lane = static_cast<int>(threadIdx.x) % warp_size;
    row = warp % tiles * tile_rows + lane / 4;
    set = warp / tiles;
  }
  __device__ int key_of(int group) const { return (group * Room::sets + set) * group_keys; }

  __device__ void take_queries(const Room& room) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      load_fragments<false>(queries[step], &room.queries[row - lane / 4 + lane % 16][step * 16 + lane / 16 * 8]);
    }
  }

  // Of `keys` keys, of which those from `end` on count for nothing; scale: to the power of two.
  __device__ void score(Room& room, int keys, int end, float scale) {
#pragma unroll
    for (int group = 0; group < groups; ++group) {
#pragma unroll
      for (float& score : scores[group]) {
        score = 0;
      }
    }
#pragma unroll
    for (int step = 0; step < steps; step += 2) {
#pragma unroll
      for (int group = 0; group < groups; ++group) {
        if (key_of(group) < keys) {
          unsigned own[4];
          load_fragments<false>(own, &room.keys[key_of(group) + lane % 8][step * 16 + lane / 8 * 8]);
          const auto &q = queries[step], &next = queries[step + 1];
          multiply_add<T>(scores[group], q[0], q[1], q[2], q[3], own[0], own[1]);
          multiply_add<T>(scores[group], next[0], next[1], next[2], next[3], own[2], own[3]);
        }
      }
    }
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      float largest = -FLT_MAX;
#pragma unroll
      for (int group = 0; group < groups; ++group) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[group][2 * below + i];
          score = key_of(group) + lane % 4 * 2 + i < end ? score * scale : -FLT_MAX;
          largest = fmaxf(largest, score);
        }
      }
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 2));
      room.largest[set][row + 8 * below] = largest;
    }
  }

  // Once all warps' largest scores are there.
  __device__ void weigh(Room& room, int keys) {
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      const int own_row = row + 8 * below;
      float largest = most[below];
#pragma unroll
      for (int other = 0; other < Room::sets; ++other) {
        largest = fmaxf(largest, room.largest[other][own_row]);
      }
      const float shrink = exp2f(most[below] - largest);
      most[below] = largest;
      total[below] *= shrink;
#pragma unroll
      for (int group = 0; group < groups; ++group) {
        if (key_of(group) < keys) {
          const float one = exp2f(scores[group][2 * below] - largest),
                      two = exp2f(scores[group][2 * below + 1] - largest);
          total[below] += one + two;
          *reinterpret_cast<uint32_t*>(&room.weights[own_row][key_of(group) + lane % 4 * 2]) = round_pair<T>(one, two);
        }
      }
      float sum = total[below];
      sum += __shfl_xor_sync(all_lanes, sum, 1);
      sum += __shfl_xor_sync(all_lanes, sum, 2);
      if (lane % 4 == 0) {
        room.total[set][own_row] = sum;
        if (set == 0) {
          room.most[own_row] = largest;
          room.shrink[own_row] = shrink;
        }
      }
    }
  }
};

// The mixtures of all rows in some columns, a warp's.
template <typename T, int tiles>
struct WindowMixtures {
  using Room = WindowRoom<T, tiles>;
  static constexpr int columns = window_width / window_warps;
  float mixed[tiles][columns / tile_outputs][tile_values] = {};
  int lane, column;

  __device__ WindowMixtures() {
    lane = static_cast<int>(threadIdx.x) % warp_size;
    column = static_cast<int>(threadIdx.x) / warp_size * columns;
  }

  __device__ void shrink(const Room& room) {
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile) {
#pragma unroll
      for (int i = 0; i < tile_values; ++i) {
        const float factor = room.shrink[tile * tile_rows + lane / 4 + i / 2 * 8];
#pragma unroll
        for (auto& sums : mixed[tile]) {
          sums[i] *= factor;
        }
      }
    }
  }

  __device__ void add(const Room& room, int keys) {
    const int eighth = lane / 8, within = lane % 8;
#pragma unroll 4
    for (int key = 0; key < keys; key += step_keys) {
      unsigned weights[tiles][4];
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        load_fragments<false>(weights[tile], &room.weights[tile * tile_rows + lane % 16][key + lane / 16 * 8]);
      }
#pragma unroll
      for (int j = 0; j < columns / tile_outputs; j += 2) {
        unsigned own[4];
        load_fragments<true>(own,
                             &room.values[key + eighth % 2 * 8 + within][column + j * tile_outputs + eighth / 2 * 8]);
#pragma unroll
        for (int tile = 0; tile < tiles; ++tile) {
          const auto& w = weights[tile];
          multiply_add<T>(mixed[tile][j], w[0], w[1], w[2], w[3], own[0], own[1]);
          multiply_add<T>(mixed[tile][j + 1], w[0], w[1], w[2], w[3], own[2], own[3]);
        }
      }
    }
  }

  // Each row to the block that merges it.
  __device__ void send(Room& room) const {
    const int rank = static_cast<int>(blockIdx.x);
#pragma unroll
    for (int i = 0; i < 2 * tiles; ++i) {
      const int tile = i / 2, below = i % 2, row = tile * tile_rows + lane / 4 + 8 * below;
      float* to = &room.mixed[rank][row % Room::own_rows][column + lane % 4 * 2];
#pragma unroll
      for (int j = 0; j < columns / tile_outputs; ++j) {
        const float* own = mixed[tile][j] + 2 * below;
        room.inbox.send(float2{own[0], own[1]}, to + j * tile_outputs, row / Room::own_rows);
      }
    }
    const int row = static_cast<int>(threadIdx.x);
    if (row < Room::rows) {
      float total = 0;
#pragma unroll
      for (int set = 0; set < Room::sets; ++set) {
        total += room.total[set][row];
      }
      room.inbox.send(float2{room.most[row], total}, &room.found[rank][row % Room::own_rows], row / Room::own_rows);
    }
  }
};

// Of the block's own rows, all that was sent.
template <typename T, int tiles>
__device__ void write_window(const WindowArguments& a, const WindowRoom<T, tiles>& room) {
  constexpr int own_rows = WindowRoom<T, tiles>::own_rows, row_pairs = window_width / 2;
  T* out = static_cast<T*>(a.mixed) +
           (static_cast<int64_t>(blockIdx.z) * a.count * a.heads.queries + blockIdx.y) * window_width;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < own_rows * row_pairs; i += window_threads) {
    const int own = i / row_pairs, row = static_cast<int>(blockIdx.x) * own_rows + own, column = i % row_pairs * 2;
    float largest = -FLT_MAX, total = 0;
#pragma unroll
    for (int part = 0; part < window_parts; ++part) {
      largest = fmaxf(largest, room.found[part][own].x);
    }
    float2 mixed{};
#pragma unroll
    for (int part = 0; part < window_parts; ++part) {
      const float2 found = room.found[part][own];
      const float2 values = *reinterpret_cast<const float2*>(&room.mixed[part][own][column]);
      const float weight = exp2f(found.x - largest);
      total += weight * found.y;
      mixed.x += weight * values.x;
      mixed.y += weight * values.y;
    }
    if (row < a.count) {
      *reinterpret_cast<uint32_t*>(out + row * a.heads.queries * window_width + column) =
          round_pair<T>(mixed.x / total, mixed.y / total);
    }
  }
}

// The queries, and the keys and values of the first round.
template <typename T, int tiles>
__device__ void take_first(const WindowArguments& a, const WindowShare<T>& share, WindowRoom<T, tiles>& room) {
  fetch_kept(share, share.keys, share.begin, room.keys);
  fetch_kept(share, share.values, share.begin, room.values);
  WindowRows<T, tiles> rows;
  rows.read_angles(a, share);
  wait_for_kernels_before();
  rows.take_queries(share, room);
  rows.take_new(share, share.begin, room);
}

// The values of a later round and, of its keys, what is new.
template <typename T, int tiles>
__device__ void take_next(const WindowArguments& a, const WindowShare<T>& share, int round,
                          WindowRoom<T, tiles>& room) {
  fetch_kept(share, share.values, round, room.values);
  if (share.first < round + round_keys && share.first + share.count > round) {
    WindowRows<T, tiles> rows;
    rows.read_angles(a, share);
    rows.take_new(share, round, room);
  }
}

template <typename T, int tiles>
__global__ void __launch_bounds__(window_threads, tiles == 2 ? window_blocks : 1)
    window_attention_kernel(WindowArguments a) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  using Room = WindowRoom<T, tiles>;
  extern __shared__ __align__(16) char shared[];
  auto& room = *reinterpret_cast<Room*>(shared);
  let_next_begin();
  if (threadIdx.x == 0) {
    room.inbox.begin();
  }
  const WindowShare<T> share(a);
  take_first(a, share, room);
  const float scale = 1.4426950408889634F * rsqrtf(static_cast<float>(window_width));
  WindowScores<T, tiles> scores;
  WindowMixtures<T, tiles> mixtures;
  for (int round = share.begin;; round += round_keys) {
    const int keys = share.keys_from(round), next = round + round_keys;
    const bool last = next >= share.end;
    wait_for_copies<1>();
    __syncthreads();
    if (round == share.begin) {
      scores.take_queries(room);
    }
    scores.score(room, keys, share.end - round, scale);
    __syncthreads();
    if (last) {
      if (threadIdx.x == 0) {
        room.inbox.expect(Room::rows * (window_width * sizeof(float) + sizeof(float2)));
      }
      __syncwarp();
      arrive_at_cluster();  // the others may write where the keys were
      end_copies();
    } else {
      fetch_kept(share, share.keys, next, room.keys);
    }
    scores.weigh(room, keys);
    wait_for_copies<1>();
    __syncthreads();
    if (round != share.begin) {
      mixtures.shrink(room);
    }
    mixtures.add(room, keys);
    if (last) {
      break;
    }
    __syncthreads();
    take_next(a, share, next, room);
  }
  wait_for_cluster();
  mixtures.send(room);
  room.inbox.wait(0);
  write_window<T, tiles>(a, room);
#endif
}

template <typename T, int tiles>
bool launch_window(const WindowArguments& a, cudaStream_t stream) {
  const auto kernel = window_attention_kernel<T, tiles>;
  constexpr size_t bytes = sizeof(WindowRoom<T, tiles>);
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)) !=
      cudaSuccess) {
    return false;
  }
  const dim3 blocks(window_parts, static_cast<unsigned>(a.heads.queries), static_cast<unsigned>(a.batch));
  launch_early(kernel, EarlyLaunch{blocks, window_threads, bytes, stream, window_parts}, a);
  return true;
}

template <typename T>
bool launch_by_rows(const WindowArguments& a, cudaStream_t stream) {
  return a.count <= 2 * tile_rows ? launch_window<T, 2>(a, stream) : launch_window<T, 4>(a, stream);
}

}  // namespace

bool window_attention(Precision precision, const WindowArguments& a, cudaStream_t stream) {
  return precision == Precision::float16 ? launch_by_rows<__half>(a, stream) : launch_by_rows<__nv_bfloat16>(a, stream);
}

}  // namespace demask::kernels::cuda::launch
