// What a block of kernels/cuda_window_attention.cu has in shared memory, and how a head's queries, keys and values come
// there.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_launch.h"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {

inline constexpr int window_warps = 8, window_threads = window_warps * warp_size;
inline constexpr int window_width = 128;              // of a head
inline constexpr int window_parts = 4;                // of a head's keys, a block each
inline constexpr int round_keys = 96;                 // that a block takes at once
inline constexpr int window_blocks = 2;               // a multiprocessor's, of 32 rows
inline constexpr int group_keys = 8, step_keys = 16;  // of an instruction for scores, and for mixtures
// Values from one row in shared memory to the next: no bank twice.
inline constexpr int staged_row = window_width + 8, weight_row = round_keys + 8;

template <typename T, int tiles>
struct WindowRoom {
  static constexpr int rows = tiles * tile_rows, own_rows = rows / window_parts;  // that a block merges
  static constexpr int sets = window_warps / tiles;                               // of keys whose scores a warp takes
  union {
    T queries[rows][staged_row];
    T weights[rows][weight_row];  // once the queries are in registers
  };
  union {
    T keys[round_keys][staged_row];
    float mixed[window_parts][own_rows][window_width];  // what each block sends, after the last keys
  };
  T values[round_keys][staged_row];
  float2 found[window_parts][own_rows];  // with mixed: a row's largest score and total
  float largest[sets][rows], total[sets][rows];
  float most[rows], shrink[rows];  // of all keys so far; what the mixture before the round counts for
  Inbox inbox;
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
    first = static_cast<int>(*a.first);
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
    count = static_cast<int>(a.count);
    constexpr int whole = window_parts * step_keys;
    const int share = (static_cast<int>(a.capacity) + whole - 1) / whole * step_keys;
    begin = static_cast<int>(blockIdx.x) * share;
    end = min(begin + share, static_cast<int>(a.capacity));
    keeps = head % each == 0;
  }
  __device__ bool is_new(int key) const { return key >= first && key < first + count; }
  // Of the round from this key on, in whole steps.
  __device__ int keys_from(int key) const {
    return min(round_keys, (end - key + step_keys - 1) / step_keys * step_keys);
  }
};

inline constexpr int row_chunks = window_width / 8, half_chunks = row_chunks / 2;  // of 16 bytes

// The kept keys or values of a round; rows behind the last key are zeros.
template <typename T>
__device__ void fetch_kept(const WindowShare<T>& share, const T* kept, int round, T (*to)[staged_row]) {
  const int chunks = share.keys_from(round) * row_chunks;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < chunks; i += window_threads) {
    const int at = i / row_chunks, key = round + at, column = i % row_chunks * Chunk<T>::size;
    if (key >= share.end) {
      store(&to[at][column], Chunk<T>{});
    } else if (!share.is_new(key)) {
      copy_later(kept + static_cast<int64_t>(key) * window_width + column, &to[at][column]);
    }
  }
  end_copies();
}

// Eight values of the first half of a head's row, and their partners in the second.
template <typename T>
struct Pairs {
  static constexpr int half = window_width / 2;
  Chunk<T> low{}, high{};

  __device__ void read(const T* from) {
    low = load(from);
    high = load(from + half);
  }
  __device__ void write(T* to) const {
    store(to, low);
    store(to + half, high);
  }
};

// By which a position's pairs from `column` on are rotated.
struct PairAngles {
  Chunk<float> cosines[2], sines[2];

  __device__ void read(const WindowArguments& a, int position, int column) {
    const int64_t at = static_cast<int64_t>(position) * (window_width / 2) + column;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      cosines[i] = load(a.heads.cosine + at + 4 * i);
      sines[i] = load(a.heads.sine + at + 4 * i);
    }
  }
  template <typename T>
  __device__ void rotate(Pairs<T>& pairs) const {
#pragma unroll
    for (int i = 0; i < Chunk<T>::size; ++i) {
      const float c = cosines[i / 4].values[i % 4], s = sines[i / 4].values[i % 4], u = to_float(pairs.low.values[i]),
                  v = to_float(pairs.high.values[i]);
      pairs.low.values[i] = from_float<T>(u * c - v * s);
      pairs.high.values[i] = from_float<T>(v * c + u * s);
    }
  }
};

// The rows of the window, of which a thread takes some pairs each.
template <typename T, int tiles>
struct WindowRows {
  using Room = WindowRoom<T, tiles>;
  static constexpr int units = Room::rows * half_chunks / window_threads;
  PairAngles angles[units];

  static __device__ int row_of(int unit) {
    return (static_cast<int>(threadIdx.x) + unit * window_threads) / half_chunks;
  }
  static __device__ int column() { return static_cast<int>(threadIdx.x) % half_chunks * Chunk<T>::size; }

  __device__ void read_angles(const WindowArguments& a, const WindowShare<T>& share) {
#pragma unroll
    for (int unit = 0; unit < units; ++unit) {
      angles[unit].read(a, share.first + min(row_of(unit), share.count - 1), column());
    }
  }

  __device__ void take_queries(const WindowShare<T>& share, Room& room) const {
#pragma unroll
    for (int unit = 0; unit < units; ++unit) {
      const int row = row_of(unit);
      Pairs<T> own;
      if (row < share.count) {
        own.read(share.row + row * share.row_width + column());
        angles[unit].rotate(own);
      }
      own.write(&room.queries[row][column()]);
    }
  }

  // The keys and values of the round that begins there, which are kept from now on.
  __device__ void take_new(const WindowShare<T>& share, int round, Room& room) const {
#pragma unroll
    for (int unit = 0; unit < units; ++unit) {
      const int row = row_of(unit), key = share.first + row, at = key - round;
      if (row >= share.count || at < 0 || at >= round_keys || key >= share.end) {
        continue;
      }
      const int64_t kept = static_cast<int64_t>(key) * window_width + column();
      Pairs<T> own_key, own_value;
      own_key.read(share.new_keys + row * share.row_width + column());
      own_value.read(share.new_values + row * share.row_width + column());
      angles[unit].rotate(own_key);
      own_key.write(&room.keys[at][column()]);
      own_value.write(&room.values[at][column()]);
      if (share.keeps) {
        own_key.write(share.keys + kept);
        own_value.write(share.values + kept);
      }
    }
  }
};

}  // namespace demask::kernels::cuda::launch
