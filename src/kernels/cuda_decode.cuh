// Where a block of decoding's attention finds what it mixes, and how a head is read for it.
#pragma once

#include <cfloat>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// The queries first_query .. first_query + count - 1 of one key head of one
// sequence, over one split of its keys.
template <typename T>
struct DecodeGroup {
  int first_query, count;  // among all heads of the sequence
  int part, split;         // of the key head's queries, of the keys
  int64_t sequence;
  int64_t number;    // among all sequences, key heads and parts
  const T* queries;  // [count, width]
  const T* key;      // the new token's
  const T* value;
  T* keys;  // [capacity, width]
  T* values;
};

// Blocks are numbered by sequence, key head, part of its queries and split.
template <typename T, int queries>
__device__ DecodeGroup<T> find_group(const DecodeArguments& a, int width) {
  const int each = static_cast<int>(a.heads.queries / a.heads.keys), parts = (each + queries - 1) / queries;
  const int splits = static_cast<int>(a.splits);
  DecodeGroup<T> found;
  found.split = static_cast<int>(blockIdx.x) % splits;
  found.number = static_cast<int>(blockIdx.x) / splits;
  found.part = static_cast<int>(found.number % parts);
  const int64_t key_head = found.number / parts % a.heads.keys;
  found.sequence = found.number / parts / a.heads.keys;
  const T* row = static_cast<const T*>(a.qkv) + found.sequence * (a.heads.queries + 2 * a.heads.keys) * width;
  found.first_query = static_cast<int>(key_head) * each + found.part * queries;
  found.count = min(queries, each - found.part * queries);
  found.queries = row + found.first_query * width;
  found.key = row + (a.heads.queries + key_head) * width;
  found.value = found.key + a.heads.keys * width;
  found.keys = static_cast<T*>(a.keys) + (found.sequence * a.heads.keys + key_head) * a.capacity * width;
  found.values = static_cast<T*>(a.values) + (found.sequence * a.heads.keys + key_head) * a.capacity * width;
  return found;
}

// A warp's copy of a head [width], divided by its root mean square where there is a weight, into shared memory.
template <typename T>
__device__ void read_head(const T* source, const T* weight, float epsilon, int width, int lane, float* out) {
  float scale = 1;
  if (weight != nullptr) {
    float squares = 0;
    for (int i = lane; i < width; i += warp_size) {
      const float x = to_float(source[i]);
      squares += x * x;
    }
    scale = rsqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  }
  for (int i = lane; i < width; i += warp_size) {
    out[i] = to_float(source[i]) * scale * (weight == nullptr ? 1.0F : to_float(weight[i]));
  }
}

// Component i of a head [width] at a position.
inline __device__ float rotated(const HeadArguments& heads, const float* head, int64_t position, int width, int i) {
  if (heads.cosine == nullptr) {
    return head[i];
  }
  const int half = width / 2, at = i < half ? i : i - half;
  const float c = heads.cosine[position * half + at], s = heads.sine[position * half + at];
  return i < half ? head[i] * c - head[i + half] * s : head[i] * c + head[i - half] * s;
}

inline constexpr int decode_threads = 256;
inline constexpr int decode_warps = decode_threads / warp_size;

// Keys that a thread takes, on their way at once.
inline constexpr int keys_ahead = 4;

// `lanes` neighbouring threads share a key, a chunk each.
struct Share {
  int lanes, part, group, groups;  // part: where the thread's chunk begins in a head

  __device__ Share(int width, int size) : lanes(width / size) {
    part = static_cast<int>(threadIdx.x) % lanes * size;
    group = static_cast<int>(threadIdx.x) / lanes;
    groups = decode_threads / lanes;
  }
  __device__ int64_t key(int split, int k) const { return (int64_t{split} * keys_ahead + k) * groups + group; }
};

// A thread's chunks of its keys and values, as they lie in memory.
struct PastPart {
  int4 keys[keys_ahead], values[keys_ahead];

  template <typename T>
  __device__ void read(const DecodeGroup<T>& group, const Share& share, int64_t position, int width) {
#pragma unroll
    for (int k = 0; k < keys_ahead; ++k) {
      const int64_t index = share.key(group.split, k);
      const bool past = index < position;
      keys[k] = past ? *reinterpret_cast<const int4*>(group.keys + index * width + share.part) : int4{};
      values[k] = past ? *reinterpret_cast<const int4*>(group.values + index * width + share.part) : int4{};
    }
  }

  // Writes the new token's chunks to the cache, where this thread has it.
  template <typename T>
  __device__ void keep_new(const DecodeGroup<T>& group, const Share& share, int64_t position, int width) const {
#pragma unroll
    for (int k = 0; k < keys_ahead; ++k) {
      if (share.key(group.split, k) == position) {
        *reinterpret_cast<int4*>(group.keys + position * width + share.part) = keys[k];
        *reinterpret_cast<int4*>(group.values + position * width + share.part) = values[k];
      }
    }
  }

  // The new token's chunks, where this thread has it.
  template <typename T>
  __device__ void take_new(const T* key, const T* value, const DecodeGroup<T>& group, const Share& share,
                           int64_t position) {
#pragma unroll
    for (int k = 0; k < keys_ahead; ++k) {
      if (share.key(group.split, k) == position) {
        keys[k] = *reinterpret_cast<const int4*>(key + share.part);
        values[k] = *reinterpret_cast<const int4*>(value + share.part);
      }
    }
  }
};

// A block's shared memory.
template <typename T, int queries>
struct DecodeShared {
  T *key, *value;          // [width], the new token's
  float *raw, *query;      // [queries + 1, width], [queries, width]
  float *largest, *total;  // [queries, warps]: the mixture of each warp for each query
  float* mixed;            // [queries, warps, width]

  __host__ __device__ static size_t bytes(int64_t width) {
    return static_cast<size_t>(2 * width) * sizeof(T) +
           sizeof(float) * static_cast<size_t>((2 * queries + 1) * width + queries * decode_warps * (width + 2));
  }
  __device__ DecodeShared(unsigned char* shared, int width) {
    key = reinterpret_cast<T*>(shared);
    value = key + width;
    raw = reinterpret_cast<float*>(value + width);
    query = raw + (queries + 1) * width;
    mixed = query + queries * width;
    largest = mixed + queries * decode_warps * width;
    total = largest + queries * decode_warps;
  }
};

// Puts the queries into shared memory, those past the group's count as zeros, and where the new token is in this split
// its key and value too, and into the cache. Each of these vectors is a warp's work.
template <typename T, int queries>
__device__ void take_new_token(const DecodeArguments& a, const DecodeGroup<T>& group, int64_t position, bool has_new,
                               int width, const DecodeShared<T, queries>& shared) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  for (int n = warp; n < queries + (has_new ? 2 : 0); n += decode_warps) {
    const bool is_key = n == queries;
    if (n > queries) {
      for (int i = lane; i < width; i += warp_size) {
        const T value = group.value[i];
        shared.value[i] = value;
        if (group.part == 0) {
          group.values[position * width + i] = value;
        }
      }
      continue;
    }
    const bool exists = is_key || n < group.count;
    float* raw = shared.raw + n * width;
    if (exists) {
      read_head(is_key ? group.key : group.queries + n * width,
                static_cast<const T*>(is_key ? a.heads.key_weight : a.heads.query_weight), a.heads.epsilon, width, lane,
                raw);
      __syncwarp();
    }
    for (int i = lane; i < width; i += warp_size) {
      const T component = from_float<T>(exists ? rotated(a.heads, raw, position, width, i) : 0.0F);
      if (!is_key) {
        shared.query[n * width + i] = to_float(component);
        continue;
      }
      shared.key[i] = component;
      if (group.part == 0) {
        group.keys[position * width + i] = component;
      }
    }
  }
  __syncthreads();
}

// A softmax over some keys, and their values mixed by it: both still to be divided by `total`.
template <int size>
struct Mixture {
  float largest = -FLT_MAX;
  float total = 0;
  float mixed[size] = {};
};

// This thread's chunk of the mixture of its own keys, for one query; the lanes that share a key score it together.
template <typename T, int size>
__device__ Mixture<size> mix_own(const PastPart& past, const float (&q)[size], const DecodeGroup<T>& group,
                                 const Share& share, int64_t position) {
  float scores[keys_ahead];
#pragma unroll
  for (int k = 0; k < keys_ahead; ++k) {
    const Chunk<T> key = *reinterpret_cast<const Chunk<T>*>(&past.keys[k]);
    scores[k] = 0;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      scores[k] = fmaf(q[i], to_float(key.values[i]), scores[k]);
    }
  }
  for (int offset = share.lanes / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (int k = 0; k < keys_ahead; ++k) {
      scores[k] += __shfl_xor_sync(all_lanes, scores[k], offset);
    }
  }
  Mixture<size> own;
#pragma unroll
  for (int k = 0; k < keys_ahead; ++k) {
    if (share.key(group.split, k) <= position) {
      own.largest = fmaxf(own.largest, scores[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < keys_ahead; ++k) {
    const float weight = share.key(group.split, k) <= position ? __expf(scores[k] - own.largest) : 0.0F;
    const Chunk<T> value = *reinterpret_cast<const Chunk<T>*>(&past.values[k]);
    own.total += weight;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      own.mixed[i] = fmaf(weight, to_float(value.values[i]), own.mixed[i]);
    }
  }
  return own;
}

// Gives each lane the mixture of its own and the lane's `offset` away.
template <int size>
__device__ void merge_with(Mixture<size>& m, int offset) {
  const float other_largest = __shfl_xor_sync(all_lanes, m.largest, offset);
  const float other_total = __shfl_xor_sync(all_lanes, m.total, offset);
  const float both = fmaxf(m.largest, other_largest);
  const float mine = __expf(m.largest - both), theirs = __expf(other_largest - both);
  m.total = m.total * mine + other_total * theirs;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    m.mixed[i] = m.mixed[i] * mine + __shfl_xor_sync(all_lanes, m.mixed[i], offset) * theirs;
  }
  m.largest = both;
}

// Gives every group of the warp the mixture of all of them.
template <int size>
__device__ void merge_groups(Mixture<size>& m, int lanes) {
  for (int offset = lanes; offset < warp_size; offset *= 2) {
    merge_with(m, offset);
  }
}

// The mixtures that `count` parts found of one head [width], component i of it; those of part p stand `stride` and
// `apart` values further on.
struct Merged {
  float largest = -FLT_MAX, total = 0, mixed = 0;
};
inline __device__ Merged merge_parts(const float* largest, const float* total, const float* mixed, int count,
                                     int stride, int apart) {
  Merged all;
  for (int p = 0; p < count; ++p) {
    all.largest = fmaxf(all.largest, largest[p * stride]);
  }
#pragma unroll 4
  for (int p = 0; p < count; ++p) {
    const float share = __expf(largest[p * stride] - all.largest);
    all.mixed = fmaf(mixed[p * apart], share, all.mixed);
    all.total = fmaf(total[p * stride], share, all.total);
  }
  return all;
}

// Blocks of a cluster on every device that has clusters.
inline constexpr int64_t most_clustered = 8;

// As many splits as a cluster has blocks, of which it can have 1, 2, 4 or 8; 1: they are no cluster.
inline int64_t cluster_of(int64_t splits) {
  int64_t blocks = 1;
  while (blocks < splits) {
    blocks *= 2;
  }
  return blocks <= most_clustered ? blocks : 1;
}

// Of many texts the multiprocessors have other blocks to work on while one waits, and clusters leave some idle.
inline bool gain_by_clusters(int64_t heads, int64_t splits) {
  return heads * splits <= int64_t{2} * multiprocessors();
}

// Whether heads are neither normed nor rotated, so that a thread finds what it needs of a new token where it is.
inline bool takes_heads_as_they_are(const HeadArguments& heads) {
  return heads.query_weight == nullptr && heads.key_weight == nullptr && heads.cosine == nullptr;
}

// Puts the mixture of each warp for each query into shared memory; query_of(n, i) is value i of the thread's chunk of
// query n.
template <typename T, int queries, int size, typename QueryOf>
__device__ void mix_past_by(const PastPart& past, const DecodeGroup<T>& group, const Share& share, int64_t position,
                            int width, const DecodeShared<T, queries>& shared, QueryOf query_of) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const float scale = rsqrtf(static_cast<float>(width));
#pragma unroll
  for (int n = 0; n < queries; ++n) {
    float q[size];
#pragma unroll
    for (int i = 0; i < size; ++i) {
      q[i] = query_of(n, i) * scale;
    }
    Mixture<size> m = mix_own<T>(past, q, group, share, position);
    merge_groups(m, share.lanes);
    if (lane < share.lanes) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        shared.mixed[(n * decode_warps + warp) * width + share.part + i] = m.mixed[i];
      }
    }
    if (lane == 0) {
      shared.largest[n * decode_warps + warp] = m.largest;
      shared.total[n * decode_warps + warp] = m.total;
    }
  }
  __syncthreads();
}

template <typename T, int queries, int size>
__device__ void mix_past(const PastPart& past, const DecodeGroup<T>& group, const Share& share, int64_t position,
                         int width, const DecodeShared<T, queries>& shared) {
  mix_past_by<T, queries, size>(past, group, share, position, width, shared,
                                [&](int n, int i) { return shared.query[n * width + share.part + i]; });
}

}  // namespace demask::kernels::cuda::launch
