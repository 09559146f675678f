// Attention of a window of positions to whole texts whose keys and values are kept: what is kept of the other positions
// is asked for before the window's own queries are there. The keys of a head are split among the blocks of a cluster
// and the warps of a block, by the text's length alone, each of which keeps a softmax of its own (Milakov and
// Gimelshein 2018, arXiv 1805.02867); these are merged in one order, so that a text's result depends on no other.
#include <cooperative_groups.h>

#include <cfloat>

#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_finish.cuh"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int window_threads = 256, window_warps = window_threads / warp_size;
constexpr int window_width = 128;  // of a head
constexpr int stage_keys = 64, window_stages = 3, window_splits = 4;
constexpr int staged_row = window_width + 8;  // values from one row in shared memory to the next: no bank twice
constexpr int block_keys = 16;                // that a warp takes at once
constexpr int found_row = window_width + 4;   // what was found of a row: mixture, largest score, total

// `tiles` of 16 rows take a warp each; the others take other keys of the same rows.
template <typename T, int tiles>
struct WindowRoom {
  static constexpr int rows = tiles * tile_rows, parts = window_warps / tiles;
  T queries[rows][staged_row];
  float merged[rows][2];  // largest score and total of a row in found[0], once the parts are merged there
  union {
    struct {
      T keys[stage_keys][staged_row], values[stage_keys][staged_row];
    } stages[window_stages];
    float found[parts][rows][found_row];
  };
};

// A block's head and its share of the keys.
template <typename T>
struct WindowShare {
  const T* row;                    // of the text's first row of queries, keys and values
  int64_t row_width;               // from one to the next
  const T *new_keys, *new_values;  // of the head, in the text's first row
  T *keys, *values;                // [capacity, width]
  int first, count;                // the window
  int begin, end;                  // of the keys
  bool keeps;                      // the window's keys and values

  __device__ WindowShare(const WindowArguments& a) {
    const int head = static_cast<int>(blockIdx.y), each = static_cast<int>(a.heads.queries / a.heads.keys);
    const int64_t text = blockIdx.z, key_head = head / each;
    row_width = (a.heads.queries + 2 * a.heads.keys) * window_width;
    const T* text_row = static_cast<const T*>(a.qkv) + text * a.count * row_width;
    row = text_row + head * window_width;
    new_keys = text_row + (a.heads.queries + key_head) * window_width;
    new_values = new_keys + a.heads.keys * window_width;
    const int64_t kept = (text * a.heads.keys + key_head) * a.capacity * window_width;
    keys = static_cast<T*>(a.keys) + kept;
    values = static_cast<T*>(a.values) + kept;
    first = static_cast<int>(*a.first);
    count = static_cast<int>(a.count);
    const int stages = (static_cast<int>(a.capacity) + stage_keys - 1) / stage_keys;
    const int share = (stages + window_splits - 1) / window_splits * stage_keys;
    begin = static_cast<int>(blockIdx.x) * share;
    end = min(begin + share, static_cast<int>(a.capacity));
    keeps = head % each == 0;
  }
  __device__ bool is_new(int key) const { return key >= first && key < first + count; }
};

// Rotates the eight values from `column` on, of the first half, and their partners at `position`.
template <typename T>
__device__ void rotate_into(const WindowArguments& a, const T* from, int position, int column, Chunk<T>& low,
                            Chunk<T>& high) {
  constexpr int half = window_width / 2, size = Chunk<T>::size;
  const Chunk<T> x = load(from + column), y = load(from + half + column);
  const int64_t at = static_cast<int64_t>(position) * half + column;
  const Chunk<float> cosines[2] = {load(a.heads.cosine + at), load(a.heads.cosine + at + size / 2)},
                     sines[2] = {load(a.heads.sine + at), load(a.heads.sine + at + size / 2)};
#pragma unroll
  for (int i = 0; i < size; ++i) {
    const float c = cosines[i / 4].values[i % 4], s = sines[i / 4].values[i % 4], u = to_float(x.values[i]),
                v = to_float(y.values[i]);
    low.values[i] = from_float<T>(u * c - v * s);
    high.values[i] = from_float<T>(v * c + u * s);
  }
}

constexpr int row_chunks = window_width / 8, half_chunks = row_chunks / 2;  // of 16 bytes

// The kept keys and values of a stage; rows behind the last key are zeros.
template <typename T, typename Stage>
__device__ void fetch_kept(const WindowShare<T>& share, int stage_begin, Stage& stage) {
  for (int i = static_cast<int>(threadIdx.x); i < stage_keys * row_chunks; i += window_threads) {
    const int key = stage_begin + i / row_chunks, column = i % row_chunks * Chunk<T>::size;
    T* to_key = &stage.keys[i / row_chunks][column];
    T* to_value = &stage.values[i / row_chunks][column];
    if (key >= share.end) {
      store(to_key, Chunk<T>{});
      store(to_value, Chunk<T>{});
    } else if (!share.is_new(key)) {
      copy_later(share.keys + static_cast<int64_t>(key) * window_width + column, to_key);
      copy_later(share.values + static_cast<int64_t>(key) * window_width + column, to_value);
    }
  }
  end_copies();
}

// Those of the window, which are kept from now on.
template <typename T, typename Stage>
__device__ void take_new(const WindowArguments& a, const WindowShare<T>& share, int stage_begin, Stage& stage) {
  constexpr int half = window_width / 2;
  for (int i = static_cast<int>(threadIdx.x); i < stage_keys * half_chunks; i += window_threads) {
    const int at = i / half_chunks, key = stage_begin + at, column = i % half_chunks * Chunk<T>::size;
    if (key >= share.end || !share.is_new(key)) {
      continue;
    }
    const int64_t row = (key - share.first) * share.row_width, kept = static_cast<int64_t>(key) * window_width;
    Chunk<T> low, high;
    rotate_into(a, share.new_keys + row, key, column, low, high);
    const Chunk<T> value = load(share.new_values + row + column),
                   value_high = load(share.new_values + row + half + column);
    store(&stage.keys[at][column], low);
    store(&stage.keys[at][half + column], high);
    store(&stage.values[at][column], value);
    store(&stage.values[at][half + column], value_high);
    if (share.keeps) {
      store(share.keys + kept + column, low);
      store(share.keys + kept + half + column, high);
      store(share.values + kept + column, value);
      store(share.values + kept + half + column, value_high);
    }
  }
}

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

// What a warp has found of its 16 rows; a lane has the row lane / 4 and the eighth after it, of these columns 8 j + 2
// (lane % 4) and the next.
template <typename T>
struct WindowRows {
  static constexpr int steps = window_width / 16;
  unsigned queries[steps][4];
  float mixed[window_width / 8][4] = {};
  float largest[2] = {-FLT_MAX, -FLT_MAX}, total[2] = {};

  // Keys key .. key + 15 of the text; those from `end` on count for nothing. scale: to the power of two.
  __device__ void add(const T (*keys)[staged_row], const T (*values)[staged_row], int key, int end, float scale) {
    const int lane = static_cast<int>(threadIdx.x) % warp_size, eighth = lane / 8, within = lane % 8;
    float scores[2][tile_values] = {};
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      unsigned own[4];
      load_fragments<false>(own, &keys[eighth / 2 * 8 + within][step * 16 + eighth % 2 * 8]);
      multiply_add<T>(scores[0], queries[step][0], queries[step][1], queries[step][2], queries[step][3], own[0],
                      own[1]);
      multiply_add<T>(scores[1], queries[step][0], queries[step][1], queries[step][2], queries[step][3], own[2],
                      own[3]);
    }
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      float most = largest[below];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& score = scores[i / 2][2 * below + i % 2];
        score = key + i / 2 * 8 + lane % 4 * 2 + i % 2 < end ? score * scale : -FLT_MAX;
        most = fmaxf(most, score);
      }
      most = fmaxf(most, __shfl_xor_sync(all_lanes, most, 1));
      most = fmaxf(most, __shfl_xor_sync(all_lanes, most, 2));
      const float shrink = exp2f(largest[below] - most);
      largest[below] = most;
      total[below] *= shrink;
#pragma unroll
      for (auto& j : mixed) {
        j[2 * below] *= shrink;
        j[2 * below + 1] *= shrink;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& score = scores[i / 2][2 * below + i % 2];
        score = exp2f(score - most);
        total[below] += score;
      }
    }
    const unsigned upper = round_pair<T>(scores[0][0], scores[0][1]), lower = round_pair<T>(scores[0][2], scores[0][3]),
                   upper_end = round_pair<T>(scores[1][0], scores[1][1]),
                   lower_end = round_pair<T>(scores[1][2], scores[1][3]);
#pragma unroll
    for (int j = 0; j < window_width / 8; j += 2) {
      unsigned own[4];
      load_fragments<true>(own, &values[eighth % 2 * 8 + within][j * 8 + eighth / 2 * 8]);
      multiply_add<T>(mixed[j], upper, lower, upper_end, lower_end, own[0], own[1]);
      multiply_add<T>(mixed[j + 1], upper, lower, upper_end, lower_end, own[2], own[3]);
    }
  }

  __device__ void write(float (*found)[found_row]) const {
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      float sum = total[below];
      sum += __shfl_xor_sync(all_lanes, sum, 1);
      sum += __shfl_xor_sync(all_lanes, sum, 2);
      float* row = found[lane / 4 + 8 * below];
#pragma unroll
      for (int j = 0; j < window_width / 8; ++j) {
        row[8 * j + lane % 4 * 2] = mixed[j][2 * below];
        row[8 * j + lane % 4 * 2 + 1] = mixed[j][2 * below + 1];
      }
      if (lane % 4 == 0) {
        row[window_width] = largest[below];
        row[window_width + 1] = sum;
      }
    }
  }
};

// What was found of some keys of a row: one value of the mixture, the largest score and the total.
struct FoundValue {
  float mixed = 0, largest = -FLT_MAX, total = 0;

  __device__ void merge(float other_mixed, float other_largest, float other_total) {
    const float most = fmaxf(largest, other_largest), old = exp2f(largest - most), own = exp2f(other_largest - most);
    mixed = mixed * old + other_mixed * own;
    total = total * old + other_total * own;
    largest = most;
  }
};

// The parts of the block's warps into the first.
template <typename T, int tiles>
__device__ void merge_warps(WindowRoom<T, tiles>& room) {
  for (int i = static_cast<int>(threadIdx.x); i < room.rows * window_width; i += window_threads) {
    const int row = i / window_width, column = i % window_width;
    FoundValue all;
#pragma unroll
    for (int part = 0; part < room.parts; ++part) {
      const float* found = room.found[part][row];
      all.merge(found[column], found[window_width], found[window_width + 1]);
    }
    room.found[0][row][column] = all.mixed;
    if (column == 0) {
      room.merged[row][0] = all.largest;
      room.merged[row][1] = all.total;
    }
  }
}

// Of every window_splits-th row, by the block's rank, all that the cluster's blocks have found.
template <typename T, int tiles>
__device__ void write_window(const WindowArguments& a, WindowRoom<T, tiles>& room) {
  const auto cluster = cooperative_groups::this_cluster();
  const int rank = static_cast<int>(blockIdx.x), count = static_cast<int>(a.count);
  T* out = static_cast<T*>(a.mixed) +
           (static_cast<int64_t>(blockIdx.z) * count * a.heads.queries + blockIdx.y) * window_width;
  for (int i = static_cast<int>(threadIdx.x);; i += window_threads) {
    const int row = i / window_width * window_splits + rank, column = i % window_width;
    if (row >= count) {
      break;
    }
    float mixed[window_splits], largest[window_splits], total[window_splits];
#pragma unroll
    for (int split = 0; split < window_splits; ++split) {
      const WindowRoom<T, tiles>& other = *cluster.map_shared_rank(&room, split);
      mixed[split] = other.found[0][row][column];
      largest[split] = other.merged[row][0];
      total[split] = other.merged[row][1];
    }
    FoundValue all;
#pragma unroll
    for (int split = 0; split < window_splits; ++split) {
      all.merge(mixed[split], largest[split], total[split]);
    }
    out[row * a.heads.queries * window_width + column] = from_float<T>(all.mixed / all.total);
  }
}

template <typename T, int tiles>
__global__ void __launch_bounds__(window_threads) window_attention_kernel(WindowArguments a) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  extern __shared__ __align__(16) char shared[];
  auto& room = *reinterpret_cast<WindowRoom<T, tiles>*>(shared);
  let_next_begin();
  const WindowShare<T> share(a);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warp_size, warp = thread / warp_size;
  for (int stage = 0; stage < window_stages; ++stage) {
    fetch_kept(share, share.begin + stage * stage_keys, room.stages[stage]);
  }
  wait_for_kernels_before();
  for (int i = thread; i < WindowRoom<T, tiles>::rows * half_chunks; i += window_threads) {
    const int row = i / half_chunks, column = i % half_chunks * Chunk<T>::size;
    Chunk<T> low{}, high{};
    if (row < share.count) {
      rotate_into(a, share.row + row * share.row_width, share.first + row, column, low, high);
    }
    store(&room.queries[row][column], low);
    store(&room.queries[row][window_width / 2 + column], high);
  }
  for (int stage = 0; stage < window_stages; ++stage) {
    take_new(a, share, share.begin + stage * stage_keys, room.stages[stage]);
  }
  const int tile = warp % tiles, part = warp / tiles;
  const float scale = 1.4426950408889634F * rsqrtf(static_cast<float>(window_width));
  WindowRows<T> rows;
  int turn = 0;
  for (int begin = share.begin; begin < share.end; begin += stage_keys, ++turn) {
    auto& stage = room.stages[turn % window_stages];
    wait_for_copies<window_stages - 1>();
    __syncthreads();
    if (turn == 0) {
#pragma unroll
      for (int step = 0; step < WindowRows<T>::steps; ++step) {
        load_fragments<false>(rows.queries[step],
                              &room.queries[tile * tile_rows + lane % 16][step * 16 + lane / 16 * 8]);
      }
    }
    for (int block = part; block < stage_keys / block_keys; block += WindowRoom<T, tiles>::parts) {
      if (begin + block * block_keys < share.end) {
        rows.add(stage.keys + block * block_keys, stage.values + block * block_keys, begin + block * block_keys,
                 share.end, scale);
      }
    }
    __syncthreads();
    fetch_kept(share, begin + window_stages * stage_keys, stage);
    take_new(a, share, begin + window_stages * stage_keys, stage);
  }
  wait_for_copies<0>();
  __syncthreads();
  rows.write(room.found[part] + tile * tile_rows);
  __syncthreads();
  merge_warps(room);
  arrive_at_cluster();
  wait_for_cluster();
  write_window<T, tiles>(a, room);
  arrive_at_cluster();  // the other blocks may still read this one's
  wait_for_cluster();
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
  const dim3 blocks(window_splits, static_cast<unsigned>(a.heads.queries), static_cast<unsigned>(a.batch));
  launch_early(kernel, EarlyLaunch{blocks, window_threads, bytes, stream, window_splits}, a);
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
