// Attention of one new token a sequence to its own past, which also takes the token's key and value into the cache.
// The past is split among blocks, each of which asks for all its keys and values at once, before the queries are even
// there; the last block of a head to end merges what all of them found.
#include <cfloat>

#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int decode_threads = 256;
constexpr int decode_warps = decode_threads / warp_size;

// Keys that a thread takes, on their way at once.
constexpr int keys_ahead = 4;

// Queries that a block takes at a time, and these times their width: what its registers and shared memory hold of them.
constexpr int64_t max_block_queries = 4, max_block_query_values = 1024;

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

  static size_t bytes(int64_t width) {
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
// its key and value too, and into the cache.
template <typename T, int queries>
__device__ void take_new_token(const DecodeArguments& a, const DecodeGroup<T>& group, int64_t position, bool has_new,
                               int width, const DecodeShared<T, queries>& shared) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  for (int n = warp; n < group.count + (has_new ? 1 : 0); n += decode_warps) {
    const bool is_key = n == group.count;
    read_head(is_key ? group.key : group.queries + n * width,
              static_cast<const T*>(is_key ? a.heads.key_weight : a.heads.query_weight), a.heads.epsilon, width, lane,
              shared.raw + n * width);
  }
  __syncthreads();
  for (int n = warp; n < queries; n += decode_warps) {
    for (int i = lane; i < width; i += warp_size) {
      const float q = n < group.count ? rotated(a.heads, shared.raw + n * width, position, width, i) : 0.0F;
      shared.query[n * width + i] = to_float(from_float<T>(q));
    }
  }
  for (int i = threadIdx.x; has_new && i < width; i += decode_threads) {
    const T key = from_float<T>(rotated(a.heads, shared.raw + group.count * width, position, width, i));
    const T value = group.value[i];
    shared.key[i] = key;
    shared.value[i] = value;
    if (group.part == 0) {
      group.keys[position * width + i] = key;
      group.values[position * width + i] = value;
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

// Gives every group of the warp the mixture of all of them.
template <int size>
__device__ void merge_groups(Mixture<size>& m, int lanes) {
  for (int offset = lanes; offset < warp_size; offset *= 2) {
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
}

// The mixtures that `count` parts found of one head [width], component i of it; those of part p stand `stride` and
// `apart` values further on.
struct Merged {
  float largest = -FLT_MAX, total = 0, mixed = 0;
};
__device__ Merged merge_parts(const float* largest, const float* total, const float* mixed, int count, int stride,
                              int apart) {
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

// Puts the mixture of each warp for each query into shared memory.
template <typename T, int queries, int size>
__device__ void mix_past(const PastPart& past, const DecodeGroup<T>& group, const Share& share, int64_t position,
                         int width, const DecodeShared<T, queries>& shared) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const float scale = rsqrtf(static_cast<float>(width));
#pragma unroll
  for (int n = 0; n < queries; ++n) {
    float q[size];
#pragma unroll
    for (int i = 0; i < size; ++i) {
      q[i] = shared.query[n * width + share.part + i] * scale;
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

// What a split found of a head, in global memory: width values, their largest score and their total.
__device__ float* found_by(const DecodeArguments& a, int64_t head, int64_t split, int width) {
  return a.found + (head * a.splits + split) * (width + decode_found_extra);
}

// Whether this block is the last to end of the `active` that share the group. All their writes can then be read.
template <typename T>
__device__ bool ends_last(const DecodeArguments& a, const DecodeGroup<T>& group, int active) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(a.ended + group.number, 1) == active - 1;
    if (last) {
      a.ended[group.number] = 0;  // for the next launch
    }
  }
  __syncthreads();
  __threadfence();
  return last;
}

// Merges the warps' mixtures of a group, and where others share it, all of theirs.
template <typename T, int queries>
__device__ void write_mixed(const DecodeArguments& a, const DecodeGroup<T>& group, int active, int width,
                            const DecodeShared<T, queries>& shared) {
  const int64_t first_head = group.sequence * a.heads.queries + group.first_query;
  T* out = static_cast<T*>(a.mixed) + first_head * width;
  for (int index = threadIdx.x; index < group.count * width; index += decode_threads) {
    const int n = index / width, i = index - n * width;
    const Merged own = merge_parts(shared.largest + n * decode_warps, shared.total + n * decode_warps,
                                   shared.mixed + n * decode_warps * width + i, decode_warps, 1, width);
    if (active == 1) {
      out[index] = from_float<T>(own.mixed / own.total);
    } else {
      float* found = found_by(a, first_head + n, group.split, width);
      found[i] = own.mixed;
      if (i == 0) {
        found[width] = own.largest;
        found[width + 1] = own.total;
      }
    }
  }
  if (active == 1 || !ends_last(a, group, active)) {
    return;
  }
  const int apart = width + decode_found_extra;
  for (int index = threadIdx.x; index < group.count * width; index += decode_threads) {
    const int n = index / width, i = index - n * width;
    const float* found = found_by(a, first_head + n, 0, width);
    const Merged all = merge_parts(found + width, found + width + 1, found + i, active, apart, apart);
    out[index] = from_float<T>(all.mixed / all.total);
  }
}

// One block takes up to `queries` heads of one sequence that share a key head, over one split of the keys. Softmax is
// taken on the fly (Milakov and Gimelshein 2018), so that keys and values are read once.
template <typename T, int queries>
__global__ void __launch_bounds__(decode_threads) decode_kernel(DecodeArguments a) {
  extern __shared__ __align__(16) unsigned char memory[];
  constexpr int size = Chunk<T>::size;
  const int width = static_cast<int>(a.heads.head_width);
  const int64_t position = *a.position;
  const DecodeGroup<T> group = find_group<T, queries>(a, width);
  const Share share(width, size);
  const int keys_each = keys_ahead * share.groups, active = static_cast<int>(position / keys_each) + 1;
  if (group.split >= active) {
    return;
  }
  PastPart past;
  past.read(group, share, position, width);
  let_next_begin();
  wait_for_kernels_before();
  const DecodeShared<T, queries> shared(memory, width);
  const bool has_new = group.split == active - 1;
  take_new_token(a, group, position, has_new, width, shared);
  if (has_new) {
    past.take_new(shared.key, shared.value, group, share, position);
  }
  mix_past<T, queries, size>(past, group, share, position, width, shared);
  write_mixed(a, group, active, width, shared);
}

template <typename T, int queries>
void launch_decode(const DecodeArguments& a, cudaStream_t stream) {
  const int64_t each = a.heads.queries / a.heads.keys, parts = (each + queries - 1) / queries;
  launch_early(decode_kernel<T, queries>, static_cast<unsigned>(a.batch * a.heads.keys * parts * a.splits),
               static_cast<unsigned>(decode_threads), DecodeShared<T, queries>::bytes(a.heads.head_width), stream, a);
}

// How many queries of a key head a block takes: all, so that keys are read once, but fewer where multiprocessors would
// stay idle; the key head's other blocks then find it in the second-level cache.
int64_t queries_per_block(const DecodeArguments& a) {
  const int64_t each = a.heads.queries / a.heads.keys;
  int64_t most = max_block_queries;
  while (most > 1 && most / 2 >= each) {
    most /= 2;
  }
  while (most > 1 && (most * a.heads.head_width > max_block_query_values ||
                      a.batch * a.heads.keys * a.splits * ((each + most - 1) / most) < multiprocessors())) {
    most /= 2;
  }
  return most;
}

template <typename T>
void launch_decode(const DecodeArguments& a, cudaStream_t stream) {
  switch (queries_per_block(a)) {
    case 1:
      return launch_decode<T, 1>(a, stream);
    case 2:
      return launch_decode<T, 2>(a, stream);
    default:
      return launch_decode<T, max_block_queries>(a, stream);
  }
}

}  // namespace

int64_t decode_splits(int64_t capacity, int64_t head_bytes) {
  const int64_t keys_each = keys_ahead * decode_threads * bytes_at_once / head_bytes;
  return (capacity + keys_each - 1) / keys_each;
}

void decode_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_decode<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch
