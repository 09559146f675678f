// Attention of one new token a sequence to its own past, which also takes the token's key and value into the cache.
#include <cfloat>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int decode_threads = 256;
constexpr int decode_warps = decode_threads / warp_size;

// Queries that a block takes at a time times their width: what its shared memory holds of them.
constexpr int64_t max_block_queries = 8, max_block_query_values = 1024;

// Where a block finds what it mixes: the queries first_query .. first_query + count - 1 of one key head of one
// sequence.
template <typename T>
struct DecodeGroup {
  int first_query, count;  // among all heads of the sequence
  const T* queries;        // [count, width]
  const T* key;
  const T* value;
  T* keys;  // [capacity, width]
  T* values;
};

// Blocks are numbered by sequence, key head and part of its queries.
template <typename T, int queries>
__device__ DecodeGroup<T> find_group(const DecodeArguments& a, int64_t block, int width) {
  const int each = static_cast<int>(a.heads.queries / a.heads.keys), parts = (each + queries - 1) / queries;
  const int part = static_cast<int>(block % parts);
  const int64_t key_head = block / parts % a.heads.keys, sequence = block / parts / a.heads.keys;
  const T* row = static_cast<const T*>(a.qkv) + sequence * (a.heads.queries + 2 * a.heads.keys) * width;
  DecodeGroup<T> found;
  found.first_query = static_cast<int>(key_head) * each + part * queries;
  found.count = min(queries, each - part * queries);
  found.queries = row + found.first_query * width;
  found.key = row + (a.heads.queries + key_head) * width;
  found.value = found.key + a.heads.keys * width;
  found.keys = static_cast<T*>(a.keys) + (sequence * a.heads.keys + key_head) * a.capacity * width;
  found.values = static_cast<T*>(a.values) + (sequence * a.heads.keys + key_head) * a.capacity * width;
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
__device__ float rotated(const HeadArguments& heads, const float* head, int64_t position, int width, int i) {
  if (heads.cosine == nullptr) {
    return head[i];
  }
  const int half = width / 2, at = i < half ? i : i - half;
  const float c = heads.cosine[position * half + at], s = heads.sine[position * half + at];
  return i < half ? head[i] * c - head[i + half] * s : head[i] * c + head[i - half] * s;
}

// Writes the new token's key and value to the cache, and the queries [queries, width] to shared memory, those past the
// group's count as zeros. Blocks that share a key head write the same bits. raw [queries + 1, width] is shared memory
// too.
template <typename T, int queries>
__device__ void take_new_token(const DecodeArguments& a, const DecodeGroup<T>& group, int64_t position, int width,
                               float* raw, float* rotated_queries) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  for (int n = warp; n <= group.count; n += decode_warps) {
    const bool is_key = n == group.count;
    read_head(is_key ? group.key : group.queries + n * width,
              static_cast<const T*>(is_key ? a.heads.key_weight : a.heads.query_weight), a.heads.epsilon, width, lane,
              raw + n * width);
  }
  __syncthreads();
  for (int n = warp; n < queries; n += decode_warps) {
    for (int i = lane; i < width; i += warp_size) {
      const float q = n < group.count ? rotated(a.heads, raw + n * width, position, width, i) : 0.0F;
      rotated_queries[n * width + i] = to_float(from_float<T>(q));
    }
  }
  for (int i = threadIdx.x; i < width; i += decode_threads) {
    group.keys[position * width + i] = from_float<T>(rotated(a.heads, raw + group.count * width, position, width, i));
    group.values[position * width + i] = group.value[i];
  }
  __syncthreads();  // makes this block's own writes to the cache visible to it as well
}

// A softmax over keys seen so far, and the values mixed by it: both still to be divided by `total`.
template <int size>
struct Mixture {
  float largest = -FLT_MAX;
  float total = 0;
  float mixed[size];

  __device__ void add(const float& score, const float (&value)[size]) {
    const float previous = largest;
    largest = fmaxf(largest, score);
    const float shrink = __expf(previous - largest), weight = __expf(score - largest);
    total = total * shrink + weight;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      mixed[i] = mixed[i] * shrink + weight * value[i];
    }
  }
};

// Keys and values that a thread has on their way at a time: without several, each waits for memory by itself.
template <int queries>
constexpr int keys_ahead = queries > 4 ? 2 : 4;

// Adds to this thread's mixtures every key that its group of `lanes` threads takes; `part` is its chunk of a head.
template <typename T, int queries, int size>
__device__ void mix_keys(const DecodeGroup<T>& group, int64_t position, int width, int lanes, int part,
                         const float (&q)[queries][size], Mixture<size> (&mixtures)[queries]) {
  constexpr int ahead = keys_ahead<queries>;
  const int own = threadIdx.x / lanes, groups = decode_threads / lanes;
  // Every thread of a warp runs the same number of rounds: shuffles need all of them.
  for (int64_t start = 0; start <= position; start += ahead * groups) {
    Chunk<T> keys[ahead], values[ahead];
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      const int64_t index = start + k * groups + own;
      keys[k] = values[k] = Chunk<T>{};
      if (index <= position) {
        keys[k] = load(group.keys + index * width + part);
        values[k] = load(group.values + index * width + part);
      }
    }
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      const bool valid = start + k * groups + own <= position;
      float value[size];
#pragma unroll
      for (int i = 0; i < size; ++i) {
        value[i] = to_float(values[k].values[i]);
      }
#pragma unroll
      for (int n = 0; n < queries; ++n) {
        float score = 0;
#pragma unroll
        for (int i = 0; i < size; ++i) {
          score += q[n][i] * to_float(keys[k].values[i]);
        }
        for (int offset = lanes / 2; offset > 0; offset /= 2) {
          score += __shfl_xor_sync(all_lanes, score, offset);
        }
        if (valid) {
          mixtures[n].add(score, value);
        }
      }
    }
  }
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

// The mixture of each warp for each query, in shared memory.
struct WarpMixtures {
  float* largest;  // [queries, warps]
  float* total;    // [queries, warps]
  float* mixed;    // [queries, warps, width]
};

// For each query the mixture of all warps, divided by its total, into out [count, width].
template <typename T>
__device__ void write_merged_warps(const WarpMixtures& of, int count, int width, T* out) {
  for (int index = threadIdx.x; index < count * width; index += decode_threads) {
    const int n = index / width, i = index - n * width;
    const float* largest = of.largest + n * decode_warps;
    float most = -FLT_MAX;
    for (int w = 0; w < decode_warps; ++w) {
      most = fmaxf(most, largest[w]);
    }
    float sum = 0, all = 0;
    for (int w = 0; w < decode_warps; ++w) {
      const float share = __expf(largest[w] - most);
      sum += of.mixed[(n * decode_warps + w) * width + i] * share;
      all += of.total[n * decode_warps + w] * share;
    }
    out[index] = from_float<T>(sum / all);
  }
}

template <int queries>
size_t decode_bytes(int64_t width) {
  return sizeof(float) * static_cast<size_t>((2 * queries + 1) * width + queries * decode_warps * (width + 2));
}

// One block takes up to `queries` heads of one sequence that share a key head; `lanes` neighbouring threads share a
// key, a chunk each. Softmax is taken on the fly (Milakov and Gimelshein 2018), so that keys and values are read once.
template <typename T, int queries>
__global__ void __launch_bounds__(decode_threads) decode_kernel(DecodeArguments a) {
  extern __shared__ float shared[];
  constexpr int size = Chunk<T>::size;
  const int width = static_cast<int>(a.heads.head_width);
  const int lanes = width / size;  // a power of two, at most 32
  const int64_t position = *a.position;
  const DecodeGroup<T> group = find_group<T, queries>(a, blockIdx.x, width);
  float* const query = shared;  // [queries, width]
  WarpMixtures warps;
  warps.mixed = query + queries * width;
  warps.largest = warps.mixed + queries * decode_warps * width;
  warps.total = warps.largest + queries * decode_warps;
  float* const raw = warps.total + queries * decode_warps;  // [queries + 1, width]
  take_new_token<T, queries>(a, group, position, width, raw, query);

  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int part = lane % lanes * size;
  const float scale = rsqrtf(static_cast<float>(width));
  float q[queries][size];
  Mixture<size> mixtures[queries];
#pragma unroll
  for (int n = 0; n < queries; ++n) {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      q[n][i] = query[n * width + part + i] * scale;
      mixtures[n].mixed[i] = 0;
    }
  }
  mix_keys(group, position, width, lanes, part, q, mixtures);
#pragma unroll
  for (int n = 0; n < queries; ++n) {
    Mixture<size>& m = mixtures[n];
    merge_groups(m, lanes);
    if (lane < lanes) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        warps.mixed[(n * decode_warps + warp) * width + part + i] = m.mixed[i];
      }
    }
    if (lane == 0) {
      warps.largest[n * decode_warps + warp] = m.largest;
      warps.total[n * decode_warps + warp] = m.total;
    }
  }
  __syncthreads();
  const int64_t sequence = blockIdx.x / (gridDim.x / a.batch);
  write_merged_warps(warps, group.count, width,
                     static_cast<T*>(a.mixed) + (sequence * a.heads.queries + group.first_query) * width);
}

template <typename T, int queries>
void launch_decode(const DecodeArguments& a, cudaStream_t stream) {
  const int64_t each = a.heads.queries / a.heads.keys, parts = (each + queries - 1) / queries;
  decode_kernel<T, queries><<<static_cast<unsigned>(a.batch * a.heads.keys * parts), decode_threads,
                              decode_bytes<queries>(a.heads.head_width), stream>>>(a);
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
                      a.batch * a.heads.keys * ((each + most - 1) / most) < multiprocessors())) {
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
    case 4:
      return launch_decode<T, 4>(a, stream);
    default:
      return launch_decode<T, max_block_queries>(a, stream);
  }
}

}  // namespace

void decode_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_decode<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch
