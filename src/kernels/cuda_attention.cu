// Attention of one new token a sequence to its own past, which also takes the token's key and value into the cache.
#include <cfloat>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int decode_threads = 256;
constexpr int decode_warps = decode_threads / warp_size;
constexpr int max_head_width = 512;

// Where decode_kernel's block finds its head of its sequence.
template <typename T>
struct DecodeHead {
  const T* query;
  const T* key;
  const T* value;
  T* keys;
  T* values;
};

template <typename T>
__device__ DecodeHead<T> find_decode_head(const DecodeArguments& a, int64_t sequence, int64_t head, int width) {
  DecodeHead<T> found;
  found.query = static_cast<const T*>(a.qkv) + (sequence * 3 * a.heads + head) * width;
  found.key = found.query + a.heads * width;
  found.value = found.key + a.heads * width;
  found.keys = static_cast<T*>(a.keys) + (sequence * a.heads + head) * a.capacity * width;
  found.values = static_cast<T*>(a.values) + (sequence * a.heads + head) * a.capacity * width;
  return found;
}

// Writes the new token's rotated key and its value to the cache, and the rotated query [width] to shared memory.
template <typename T>
__device__ void take_new_token(const DecodeArguments& a, const DecodeHead<T>& head, int64_t position, int width,
                               float* query) {
  const int half = width / 2;
  for (int i = threadIdx.x; i < width; i += decode_threads) {
    float q = to_float(head.query[i]), k = to_float(head.key[i]);
    if (a.cosine != nullptr) {
      const int partner = i < half ? i + half : i - half;
      const float c = a.cosine[position * half + i % half],
                  s = i < half ? -a.sine[position * half + i] : a.sine[position * half + i - half];
      q = q * c + to_float(head.query[partner]) * s;
      k = k * c + to_float(head.key[partner]) * s;
    }
    query[i] = to_float(from_float<T>(q));
    head.keys[position * width + i] = from_float<T>(k);
    head.values[position * width + i] = head.value[i];
  }
  __syncthreads();  // makes this block's own writes to the cache visible to it as well
}

// A softmax over keys seen so far, and the values mixed by it: both still to be divided by `total`.
template <int size>
struct Mixture {
  float largest = -FLT_MAX;
  float total = 0;
  float mixed[size];
};

// Adds to this thread's mixture every key that its group of `lanes` threads takes; `part` is its chunk of a head.
template <typename T, int size>
__device__ void mix_keys(const DecodeHead<T>& head, int64_t position, int width, int lanes, int part,
                         const float (&q)[size], Mixture<size>& m) {
  const int group = threadIdx.x / lanes, groups = decode_threads / lanes;
  // Every thread of a warp runs the same number of rounds: shuffles need all of them.
  for (int64_t round = 0; round * groups <= position; ++round) {
    const int64_t index = round * groups + group;
    const bool valid = index <= position;
    Chunk<T> k{}, v{};
    if (valid) {
      k = load(head.keys + index * width + part);
      v = load(head.values + index * width + part);
    }
    float score = 0;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      score += q[i] * to_float(k.values[i]);
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
      score += __shfl_xor_sync(all_lanes, score, offset);
    }
    if (valid) {
      const float previous = m.largest;
      m.largest = fmaxf(m.largest, score);
      const float shrink = __expf(previous - m.largest), weight = __expf(score - m.largest);
      m.total = m.total * shrink + weight;
#pragma unroll
      for (int i = 0; i < size; ++i) {
        m.mixed[i] = m.mixed[i] * shrink + weight * to_float(v.values[i]);
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

// The mixture of each warp, in shared memory.
struct WarpMixtures {
  float largest[decode_warps], total[decode_warps], mixed[decode_warps][max_head_width];
};

// The mixture of all warps, divided by its total, into out [width].
template <typename T>
__device__ void write_merged_warps(const WarpMixtures& of, int width, T* out) {
  for (int i = threadIdx.x; i < width; i += decode_threads) {
    float most = -FLT_MAX;
    for (int w = 0; w < decode_warps; ++w) {
      most = fmaxf(most, of.largest[w]);
    }
    float sum = 0, all = 0;
    for (int w = 0; w < decode_warps; ++w) {
      const float share = __expf(of.largest[w] - most);
      sum += of.mixed[w][i] * share;
      all += of.total[w] * share;
    }
    out[i] = from_float<T>(sum / all);
  }
}

// One block a head of one sequence; `lanes` neighbouring threads share a key, a chunk each. Softmax is taken on the fly
// (Milakov and Gimelshein 2018), so that keys and values are read once.
template <typename T>
__global__ void __launch_bounds__(decode_threads) decode_kernel(DecodeArguments a) {
  constexpr int size = Chunk<T>::size;
  const int width = static_cast<int>(a.head_width);
  const int lanes = width / size;  // a power of two, at most 32
  const int64_t sequence = blockIdx.x / a.heads, head_number = blockIdx.x % a.heads;
  const int64_t position = *a.position;
  const DecodeHead<T> head = find_decode_head<T>(a, sequence, head_number, width);
  __shared__ float query[max_head_width];
  take_new_token(a, head, position, width, query);

  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int part = lane % lanes * size;
  const float scale = rsqrtf(static_cast<float>(width));
  float q[size];
  Mixture<size> m;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    q[i] = query[part + i] * scale;
    m.mixed[i] = 0;
  }
  mix_keys(head, position, width, lanes, part, q, m);
  merge_groups(m, lanes);
  __shared__ WarpMixtures warps;
  if (lane < lanes) {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      warps.mixed[warp][part + i] = m.mixed[i];
    }
  }
  if (lane == 0) {
    warps.largest[warp] = m.largest;
    warps.total[warp] = m.total;
  }
  __syncthreads();
  write_merged_warps(warps, width, static_cast<T*>(a.mixed) + (sequence * a.heads + head_number) * width);
}

}  // namespace

void decode_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    decode_kernel<decltype(type)>
        <<<static_cast<unsigned>(arguments.batch * arguments.heads), decode_threads, 0, stream>>>(arguments);
  });
}

}  // namespace demask::kernels::cuda::launch
