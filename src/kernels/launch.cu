// Each kernel reads what it needs once and writes its result once: on a GPU these steps are bound by memory traffic,
// and LibTorch's own operations would make two to ten passes of them.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cfloat>

#include "core/philox.h"
#include "kernels/launch.h"

namespace demask::kernels::launch {
namespace {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xFFFFFFFFU;

template <typename T>
struct alignas(bytes_at_once) Chunk {
  static constexpr int size = static_cast<int>(bytes_at_once / static_cast<int64_t>(sizeof(T)));
  T values[size];
};

__device__ float to_float(float x) {
  return x;
}
__device__ float to_float(__half x) {
  return __half2float(x);
}
__device__ float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

template <typename T>
__device__ T from_float(float x);
template <>
__device__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

template <typename T>
__device__ Chunk<T> load(const T* pointer) {
  return *reinterpret_cast<const Chunk<T>*>(pointer);
}
template <typename T>
__device__ void store(T* pointer, const Chunk<T>& chunk) {
  *reinterpret_cast<Chunk<T>*>(pointer) = chunk;
}

__device__ float warp_sum(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(all_lanes, x, offset);
  return x;
}
__device__ float warp_max(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(all_lanes, x, offset));
  return x;
}
// Inclusive, in the order of lanes.
template <typename Number>
__device__ Number warp_scan(Number x, int lane) {
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const Number below = __shfl_up_sync(all_lanes, x, offset);
    if (lane >= offset) x += below;
  }
  return x;
}

// The same order as the floats', NaN aside.
__device__ uint32_t ordered_key(float x) {
  const uint32_t bits = __float_as_uint(x == 0.0F ? 0.0F : x);  // -0 and 0 are equal
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

unsigned blocks_for(int64_t items, int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

// ---------------------------------------------------------------------------------------------------------- the
// forward

constexpr int norm_threads = 128;  // four rows a block, a warp each

template <typename T, int chunks>
__global__ void __launch_bounds__(norm_threads) norm_kernel(NormArguments a) {
  constexpr int size = Chunk<T>::size;
  const int lane = threadIdx.x % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (norm_threads / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  const int width = static_cast<int>(a.width);
  T* x = static_cast<T*>(a.x) + row * width;
  const T* update = a.update == nullptr ? nullptr : static_cast<const T*>(a.update) + row * width;
  const T* update_bias = static_cast<const T*>(a.update_bias);
  const T* source = x;
  const T* position = nullptr;
  if (a.tokens != nullptr) {
    const int64_t at = row % a.length;
    const int64_t first = a.first_position == nullptr ? 0 : *a.first_position;
    // A row at a device-side position reads its token there too.
    source = static_cast<const T*>(a.token_embedding) + a.tokens[row / a.length * a.token_stride + first + at] * width;
    if (a.position_embedding != nullptr) position = static_cast<const T*>(a.position_embedding) + (first + at) * width;
  }
  float values[chunks][size];
  float sum = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * warp_size + lane) * size;
    if (column < width) {
      Chunk<T> chunk = load(source + column);
#pragma unroll
      for (int i = 0; i < size; ++i) values[c][i] = to_float(chunk.values[i]);
      if (update != nullptr) {
        chunk = load(update + column);
#pragma unroll
        for (int i = 0; i < size; ++i) values[c][i] += to_float(chunk.values[i]);
      }
      if (update_bias != nullptr) {
        chunk = load(update_bias + column);
#pragma unroll
        for (int i = 0; i < size; ++i) values[c][i] += to_float(chunk.values[i]);
      }
      if (position != nullptr) {
        chunk = load(position + column);
#pragma unroll
        for (int i = 0; i < size; ++i) values[c][i] += to_float(chunk.values[i]);
      }
      if (update != nullptr || a.tokens != nullptr) {
#pragma unroll
        for (int i = 0; i < size; ++i) {
          chunk.values[i] = from_float<T>(values[c][i]);
          values[c][i] = to_float(chunk.values[i]);  // what the next reader of x sees
        }
        store(x + column, chunk);
      }
#pragma unroll
      for (int i = 0; i < size; ++i) sum += values[c][i];
    }
  }
  const float mean = warp_sum(sum) / static_cast<float>(width);
  float squares = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    if ((c * warp_size + lane) * size < width) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] -= mean;
        squares += values[c][i] * values[c][i];
      }
    }
  }
  const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(width) + a.epsilon);
  T* normed = static_cast<T*>(a.normed) + row * width;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * warp_size + lane) * size;
    if (column < width) {
      const Chunk<T> weight = load(static_cast<const T*>(a.weight) + column);
      Chunk<T> bias{};
      if (a.bias != nullptr) bias = load(static_cast<const T*>(a.bias) + column);
      Chunk<T> out;
#pragma unroll
      for (int i = 0; i < size; ++i) {
        const float shift = a.bias != nullptr ? to_float(bias.values[i]) : 0.0F;
        out.values[i] = from_float<T>(values[c][i] * scale * to_float(weight.values[i]) + shift);
      }
      store(normed + column, out);
    }
  }
}

// One thread rotates one chunk of the first half of a head with its partner in the second half.
template <typename T>
__global__ void rotate_kernel(T* qkv, const float* cosine, const float* sine, int64_t rows, int length, int heads,
                              int head_width) {
  constexpr int size = Chunk<T>::size;
  const int half = head_width / 2;
  const int pairs = half / size;          // a head
  const int per_row = 2 * heads * pairs;  // queries and keys
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t row = thread / per_row;
  if (row >= rows) return;
  const int within = static_cast<int>(thread - row * per_row);
  const int head = within / pairs, offset = (within - head * pairs) * size;
  const int position = static_cast<int>(row % length);
  T* first = qkv + row * (3 * heads * head_width) + head * head_width + offset;
  T* second = first + half;
  Chunk<T> a = load(first), b = load(second);
  const float* c = cosine + position * half + offset;
  const float* s = sine + position * half + offset;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    const float x = to_float(a.values[i]), y = to_float(b.values[i]);
    a.values[i] = from_float<T>(x * c[i] - y * s[i]);
    b.values[i] = from_float<T>(y * c[i] + x * s[i]);
  }
  store(first, a);
  store(second, b);
}

__device__ float gelu(float x) {
  return 0.5F * x * (1.0F + erff(x * 0.70710678118654752440F));
}

template <typename T>
__global__ void bias_gelu_kernel(T* x, const T* bias, int64_t chunks, int chunks_per_row) {
  constexpr int size = Chunk<T>::size;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= chunks) return;
  Chunk<T> chunk = load(x + index * size);
  if (bias != nullptr) {
    const Chunk<T> shift = load(bias + index % chunks_per_row * size);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      chunk.values[i] = from_float<T>(gelu(to_float(chunk.values[i]) + to_float(shift.values[i])));
    }
  } else {
#pragma unroll
    for (int i = 0; i < size; ++i) chunk.values[i] = from_float<T>(gelu(to_float(chunk.values[i])));
  }
  store(x + index * size, chunk);
}

// One block a head of one sequence; `lanes` neighbouring threads share a key, a chunk each. Softmax is taken on the fly
// (Milakov and Gimelshein 2018), so that keys and values are read once.
constexpr int decode_threads = 256;

template <typename T>
__global__ void __launch_bounds__(decode_threads) decode_kernel(DecodeArguments a) {
  constexpr int size = Chunk<T>::size;
  constexpr int warps = decode_threads / warp_size;
  const int width = static_cast<int>(a.head_width), half = width / 2;
  const int lanes = width / size;  // a power of two, at most 32
  const int64_t sequence = blockIdx.x / a.heads, head = blockIdx.x % a.heads;
  const int64_t position = *a.position;
  const T* query = static_cast<const T*>(a.qkv) + (sequence * 3 * a.heads + head) * width;
  const T* key = query + a.heads * width;
  const T* value = key + a.heads * width;
  T* keys = static_cast<T*>(a.keys) + (sequence * a.heads + head) * a.capacity * width;
  T* values = static_cast<T*>(a.values) + (sequence * a.heads + head) * a.capacity * width;

  __shared__ float rotated[2][512];  // query, key
  for (int i = threadIdx.x; i < width; i += decode_threads) {
    float q = to_float(query[i]), k = to_float(key[i]);
    if (a.cosine != nullptr) {
      const int partner = i < half ? i + half : i - half;
      const float c = a.cosine[position * half + i % half],
                  s = i < half ? -a.sine[position * half + i] : a.sine[position * half + i - half];
      q = q * c + to_float(query[partner]) * s;
      k = k * c + to_float(key[partner]) * s;
    }
    rotated[0][i] = to_float(from_float<T>(q));
    rotated[1][i] = to_float(from_float<T>(k));
    keys[position * width + i] = from_float<T>(k);
    values[position * width + i] = value[i];
  }
  __syncthreads();  // makes this block's own writes to the cache visible to it as well

  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int part = lane % lanes * size;  // this thread's chunk of a head
  const int group = threadIdx.x / lanes, groups = decode_threads / lanes;
  const float scale = rsqrtf(static_cast<float>(width));
  float q[size], mixed[size];
#pragma unroll
  for (int i = 0; i < size; ++i) {
    q[i] = rotated[0][part + i] * scale;
    mixed[i] = 0;
  }
  float largest = -FLT_MAX, total = 0;
  // Every thread of a warp runs the same number of rounds: shuffles need all of them.
  for (int64_t round = 0; round * groups <= position; ++round) {
    const int64_t index = round * groups + group;
    const bool valid = index <= position;
    Chunk<T> k{}, v{};
    if (valid) {
      k = load(keys + index * width + part);
      v = load(values + index * width + part);
    }
    float score = 0;
#pragma unroll
    for (int i = 0; i < size; ++i) score += q[i] * to_float(k.values[i]);
    for (int offset = lanes / 2; offset > 0; offset /= 2) score += __shfl_xor_sync(all_lanes, score, offset);
    if (valid) {
      const float previous = largest;
      largest = fmaxf(largest, score);
      const float shrink = __expf(previous - largest), weight = __expf(score - largest);
      total = total * shrink + weight;
#pragma unroll
      for (int i = 0; i < size; ++i) mixed[i] = mixed[i] * shrink + weight * to_float(v.values[i]);
    }
  }
  // The groups of a warp, then the warps.
  for (int offset = lanes; offset < warp_size; offset *= 2) {
    const float other_largest = __shfl_xor_sync(all_lanes, largest, offset);
    const float other_total = __shfl_xor_sync(all_lanes, total, offset);
    const float both = fmaxf(largest, other_largest);
    const float mine = __expf(largest - both), theirs = __expf(other_largest - both);
    total = total * mine + other_total * theirs;
#pragma unroll
    for (int i = 0; i < size; ++i) mixed[i] = mixed[i] * mine + __shfl_xor_sync(all_lanes, mixed[i], offset) * theirs;
    largest = both;
  }
  __shared__ float warp_largest[warps], warp_total[warps], warp_mixed[warps][512];
  if (lane < lanes) {
#pragma unroll
    for (int i = 0; i < size; ++i) warp_mixed[warp][part + i] = mixed[i];
  }
  if (lane == 0) {
    warp_largest[warp] = largest;
    warp_total[warp] = total;
  }
  __syncthreads();
  T* out = static_cast<T*>(a.mixed) + (sequence * a.heads + head) * width;
  for (int i = threadIdx.x; i < width; i += decode_threads) {
    float most = -FLT_MAX;
    for (int w = 0; w < warps; ++w) most = fmaxf(most, warp_largest[w]);
    float sum = 0, all = 0;
    for (int w = 0; w < warps; ++w) {
      const float share = __expf(warp_largest[w] - most);
      sum += warp_mixed[w][i] * share;
      all += warp_total[w] * share;
    }
    out[i] = from_float<T>(sum / all);
  }
}

// -------------------------------------------------------------------------------------------------------------
// sampling

__device__ void report_if_broken(bool* broken, float value) {
  if (broken != nullptr && !isfinite(value)) *broken = true;
}

// Vocabularies of a few hundred tokens: one warp a row, all of it in registers, id = item * 32 + lane.
constexpr int draw_threads = 128;

template <typename T, int items>
__global__ void __launch_bounds__(draw_threads) draw_small_kernel(DrawArguments a) {
  const int lane = threadIdx.x % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (draw_threads / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  if (a.wanted != nullptr && !a.wanted[row]) {
    if (lane == 0) {
      a.tokens[row] = a.given[row];
      a.probabilities[row] = 1;
    }
    return;
  }
  const T* logits = static_cast<const T*>(a.logits) + row * a.row_stride;
  const int outputs = static_cast<int>(a.outputs);
  const float temperature = a.temperatures == nullptr ? a.temperature : a.temperatures[row / a.rows_per_temperature];
  const bool greedy = temperature == 0;
  float x[items];
  float largest = -INFINITY;
  bool nan = false;
#pragma unroll
  for (int k = 0; k < items; ++k) {
    const int id = k * warp_size + lane;
    x[k] = id < outputs ? to_float(logits[id]) + a.forbidden[id] : -INFINITY;
    if (!greedy) x[k] = x[k] / temperature;
    nan = nan || isnan(x[k]);
    largest = fmaxf(largest, x[k]);
  }
  largest = warp_max(largest);
  if (__any_sync(all_lanes, nan)) largest = NAN;
  if (!isfinite(largest)) {
    if (lane == 0) {
      a.tokens[row] = 0;
      a.probabilities[row] = NAN;
      report_if_broken(a.broken, NAN);
    }
    return;
  }
  if (!greedy && a.top_k > 0 && a.top_k < outputs) {
    bool kept[items];
#pragma unroll
    for (int k = 0; k < items; ++k) {
      int above = 0;
      for (int j = 0; j < items; ++j) {
        float other_item = -INFINITY;
#pragma unroll
        for (int i = 0; i < items; ++i) other_item = i == j ? x[i] : other_item;
        for (int l = 0; l < warp_size; ++l) above += __shfl_sync(all_lanes, other_item, l) > x[k] ? 1 : 0;
      }
      kept[k] = above < a.top_k;
    }
#pragma unroll
    for (int k = 0; k < items; ++k) x[k] = kept[k] ? x[k] : -INFINITY;
  }
  float weight[items];
  float total = 0;
#pragma unroll
  for (int k = 0; k < items; ++k) {
    weight[k] = expf(x[k] - largest);
    total += weight[k];
  }
  total = warp_sum(total);
  if (!greedy && a.top_p < 1) {
    // An id stays as long as those before it, likeliest first, do not exceed top_p.
    const float limit = a.top_p * total;
    float before[items];
#pragma unroll
    for (int k = 0; k < items; ++k) before[k] = 0;
#pragma unroll
    for (int j = 0; j < items; ++j) {
      for (int l = 0; l < warp_size; ++l) {
        const float other = __shfl_sync(all_lanes, weight[j], l);
#pragma unroll
        for (int k = 0; k < items; ++k) {
          const bool precedes = other > weight[k] || (other == weight[k] && (j < k || (j == k && l < lane)));
          before[k] += precedes ? other : 0.0F;
        }
      }
    }
    total = 0;
#pragma unroll
    for (int k = 0; k < items; ++k) {
      weight[k] = before[k] <= limit ? weight[k] : 0.0F;
      total += weight[k];
    }
    total = warp_sum(total);
  }
  int chosen = -1;
  float chosen_weight = 0;
  if (greedy) {
#pragma unroll
    for (int k = 0; k < items; ++k) {
      const unsigned best = __ballot_sync(all_lanes, x[k] == largest);
      if (chosen < 0 && best != 0) chosen = k * warp_size + __ffs(static_cast<int>(best)) - 1;
    }
    chosen_weight = 1;
  } else {
    const float threshold = a.uniforms[row] * total;
    float below = 0;
    int last = -1;
    float last_weight = 0;
#pragma unroll
    for (int k = 0; k < items; ++k) {
      const float cumulative = below + warp_scan(weight[k], lane);
      const unsigned reached = __ballot_sync(all_lanes, weight[k] > 0 && cumulative > threshold);
      const unsigned possible = __ballot_sync(all_lanes, weight[k] > 0);
      if (chosen < 0 && reached != 0) {
        const int first = __ffs(static_cast<int>(reached)) - 1;
        chosen = k * warp_size + first;
        chosen_weight = __shfl_sync(all_lanes, weight[k], first);
      }
      if (possible != 0) {
        const int end = warp_size - 1 - __clz(static_cast<int>(possible));
        last = k * warp_size + end;
        last_weight = __shfl_sync(all_lanes, weight[k], end);
      }
      below = __shfl_sync(all_lanes, cumulative, warp_size - 1);
    }
    if (chosen < 0) {  // the sum in this order fell short of the threshold by rounding
      chosen = last;
      chosen_weight = last_weight;
    }
  }
  if (lane == 0) {
    a.tokens[row] = chosen;
    a.probabilities[row] = chosen_weight / total;
  }
}

// Large vocabularies: one block a row. The row is held in shared memory where it fits there.
constexpr int wide_threads = 512;
constexpr int wide_warps = wide_threads / warp_size;

__device__ float block_max(float x, float* scratch) {
  x = warp_max(x);
  __syncthreads();
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = x;
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < wide_warps; ++w) x = fmaxf(x, scratch[w]);
  return x;
}
__device__ float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = x;
  __syncthreads();
  x = 0;
  for (int w = 0; w < wide_warps; ++w) x += scratch[w];
  return x;
}

// Bins of the eight bits of a key that `shift` selects, for keys that agree with `prefix` above them; returns, the same
// in every thread, the highest bin at which the bins above it and itself together exceed `limit`. `above` gains those
// above it. Nothing exceeds: the lowest bin that is not empty.
template <typename Number>
__device__ int bin_reaching(const Number* bins, Number limit, Number* above, int* result, Number* result_above) {
  __syncthreads();
  if (threadIdx.x < warp_size) {
    const int lane = threadIdx.x;  // lane 0 holds the highest eight bins
    Number own = 0;
    for (int i = 0; i < 8; ++i) own += bins[255 - lane * 8 - i];
    const Number through = warp_scan(own, lane);
    const unsigned crossing = __ballot_sync(all_lanes, *above + through > limit);
    const unsigned filled = __ballot_sync(all_lanes, own > 0);
    const int owner = crossing != 0 ? __ffs(static_cast<int>(crossing)) - 1
                      : filled != 0 ? warp_size - 1 - __clz(static_cast<int>(filled))
                                    : 0;
    if (lane == owner) {
      Number running = *above + through - own;
      int last_filled = 255 - lane * 8;
      Number last_above = running;
      int found = -1;
      for (int i = 0; i < 8; ++i) {
        const int bin = 255 - lane * 8 - i;
        if (bins[bin] > 0) {
          last_filled = bin;
          last_above = running;
          if (running + bins[bin] > limit) {
            found = bin;
            break;
          }
        }
        running += bins[bin];
      }
      *result = found < 0 ? last_filled : found;
      *result_above = last_above;
    }
  }
  __syncthreads();
  *above = *result_above;
  return *result;
}

template <typename T>
__global__ void __launch_bounds__(wide_threads) draw_wide_kernel(DrawArguments a, bool staged) {
  extern __shared__ __align__(16) unsigned char stage[];
  __shared__ float scratch[wide_warps];
  __shared__ float bins[256];
  __shared__ float segment[wide_warps];
  __shared__ int result;
  __shared__ float result_above;
  __shared__ unsigned long long best;
  const int64_t row = blockIdx.x;
  if (a.wanted != nullptr && !a.wanted[row]) {
    if (threadIdx.x == 0) {
      a.tokens[row] = a.given[row];
      a.probabilities[row] = 1;
    }
    return;
  }
  const T* source = static_cast<const T*>(a.logits) + row * a.row_stride;
  const int outputs = static_cast<int>(a.outputs);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const float temperature = a.temperatures == nullptr ? a.temperature : a.temperatures[row / a.rows_per_temperature];
  const bool greedy = temperature == 0;
  if (staged) {
    T* copy = reinterpret_cast<T*>(stage);
    if (reinterpret_cast<uintptr_t>(source) % bytes_at_once == 0) {
      constexpr int size = Chunk<T>::size;
      const int whole = outputs / size;
      for (int i = threadIdx.x; i < whole; i += wide_threads) store(copy + i * size, load(source + i * size));
      for (int i = whole * size + threadIdx.x; i < outputs; i += wide_threads) copy[i] = source[i];
    } else {
      for (int i = threadIdx.x; i < outputs; i += wide_threads) copy[i] = source[i];
    }
    source = copy;
    __syncthreads();
  }
  const auto value = [&](int id) {
    const float x = to_float(source[id]) + __ldg(a.forbidden + id);
    return greedy ? x : x / temperature;
  };
  float largest = -INFINITY;
  bool nan = false;
  for (int id = threadIdx.x; id < outputs; id += wide_threads) {
    const float x = value(id);
    nan = nan || isnan(x);
    largest = fmaxf(largest, x);
  }
  largest = block_max(nan ? INFINITY : largest, scratch);
  if (!isfinite(largest)) {
    if (threadIdx.x == 0) {
      a.tokens[row] = 0;
      a.probabilities[row] = NAN;
      report_if_broken(a.broken, NAN);
    }
    return;
  }
  // What is kept: ids whose key is above `key`, and at `key` itself those up to id `last_at_key`.
  uint32_t key = 0;
  int last_at_key = outputs;
  if (!greedy && a.top_k > 0 && a.top_k < outputs) {
    float above = 0;  // counts below 2^24 are exact
    for (int shift = 24; shift >= 0; shift -= 8) {
      for (int i = threadIdx.x; i < 256; i += wide_threads) bins[i] = 0;
      __syncthreads();
      for (int id = threadIdx.x; id < outputs; id += wide_threads) {
        const uint32_t k = ordered_key(value(id));
        if (shift == 24 || (k ^ key) >> (shift + 8) == 0) atomicAdd(&bins[k >> shift & 255], 1.0F);
      }
      key |=
          static_cast<uint32_t>(bin_reaching(bins, static_cast<float>(a.top_k) - 0.5F, &above, &result, &result_above))
          << shift;
    }
  }
  const uint32_t top_k_key = key;
  const auto weight_above = [&](int id, uint32_t least) {
    const float x = value(id);
    return ordered_key(x) >= least ? expf(x - largest) : 0.0F;
  };
  if (!greedy && a.top_p < 1) {
    float mass = 0;
    for (int id = threadIdx.x; id < outputs; id += wide_threads) mass += weight_above(id, top_k_key);
    mass = block_sum(mass, scratch);
    const float limit = a.top_p * mass;
    float above = 0;
    key = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      for (int i = threadIdx.x; i < 256; i += wide_threads) bins[i] = 0;
      __syncthreads();
      for (int id = threadIdx.x; id < outputs; id += wide_threads) {
        const uint32_t k = ordered_key(value(id));
        const float w = weight_above(id, top_k_key);
        if (w > 0 && (shift == 24 || (k ^ key) >> (shift + 8) == 0)) atomicAdd(&bins[k >> shift & 255], w);
      }
      key |= static_cast<uint32_t>(bin_reaching(bins, limit, &above, &result, &result_above)) << shift;
    }
    // Equals of the last likelihood stay, the lower id first, while those before do not exceed the limit.
    if (threadIdx.x == 0) result = outputs;
    __syncthreads();
    if (warp == 0) {
      float before = above;
      for (int start = 0; start < outputs; start += warp_size) {
        const int id = start + lane;
        const bool equal = id < outputs && ordered_key(value(id)) == key;
        const float w = equal ? expf(value(id) - largest) : 0.0F;
        const unsigned equals = __ballot_sync(all_lanes, equal);
        if (equals == 0) continue;
        const float exclusive = before + warp_scan(w, lane) - w;
        const unsigned dropped = __ballot_sync(all_lanes, equal && exclusive > limit);
        if (dropped != 0) {
          if (lane == 0) result = start + __ffs(static_cast<int>(dropped)) - 1;
          break;
        }
        before = __shfl_sync(all_lanes, exclusive + w, warp_size - 1);
      }
    }
    __syncthreads();
    last_at_key = result;
  }
  const auto weight = [&](int id) {
    const float x = value(id);
    const uint32_t k = ordered_key(x);
    return k > key || (k == key && id < last_at_key) ? expf(x - largest) : 0.0F;
  };
  if (greedy) {
    if (threadIdx.x == 0) best = ~0ULL;
    __syncthreads();
    float total = 0;
    for (int id = threadIdx.x; id < outputs; id += wide_threads) {
      const float x = value(id);
      if (x == largest) atomicMin(&best, static_cast<unsigned long long>(id));
      total += expf(x - largest);
    }
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) {
      a.tokens[row] = static_cast<int64_t>(best);
      a.probabilities[row] = 1 / total;
    }
    return;
  }
  // Each warp sums a contiguous segment; the one in which the threshold falls walks its own again.
  const int per_warp = (outputs + wide_warps - 1) / wide_warps;
  const int begin = warp * per_warp, end = min(begin + per_warp, outputs);
  float own = 0;
  for (int id = begin + lane; id < end; id += warp_size) own += weight(id);
  own = warp_sum(own);
  if (lane == 0) segment[warp] = own;
  __syncthreads();
  float total = 0;
  for (int w = 0; w < wide_warps; ++w) total += segment[w];
  const float threshold = a.uniforms[row] * total;
  float below = 0;
  int owner = -1, last = 0;
  float owner_below = 0, last_below = 0;
  for (int w = 0; w < wide_warps; ++w) {
    if (segment[w] > 0) {
      last = w;
      last_below = below;
      if (owner < 0 && below + segment[w] > threshold) {
        owner = w;
        owner_below = below;
      }
    }
    below += segment[w];
  }
  if (owner < 0) {
    owner = last;
    owner_below = last_below;
  }
  if (warp != owner) return;
  int chosen = -1, last_possible = -1;
  float chosen_weight = 0, last_weight = 0;
  below = owner_below;
  for (int start = begin; start < end && chosen < 0; start += warp_size) {
    const float w = start + lane < end ? weight(start + lane) : 0.0F;
    const float cumulative = below + warp_scan(w, lane);
    const unsigned reached = __ballot_sync(all_lanes, w > 0 && cumulative > threshold);
    const unsigned possible = __ballot_sync(all_lanes, w > 0);
    if (reached != 0) {
      const int first = __ffs(static_cast<int>(reached)) - 1;
      chosen = start + first;
      chosen_weight = __shfl_sync(all_lanes, w, first);
    }
    if (possible != 0) {
      const int final = warp_size - 1 - __clz(static_cast<int>(possible));
      last_possible = start + final;
      last_weight = __shfl_sync(all_lanes, w, final);
    }
    below = __shfl_sync(all_lanes, cumulative, warp_size - 1);
  }
  if (lane == 0) {
    a.tokens[row] = chosen < 0 ? last_possible : chosen;
    a.probabilities[row] = (chosen < 0 ? last_weight : chosen_weight) / total;
  }
}

template <typename T, bool small>
__global__ void judge_kernel(JudgeArguments a) {
  // Small: a warp a row. Otherwise a block a row.
  const int lane = threadIdx.x % warp_size;
  const int64_t row =
      small ? static_cast<int64_t>(blockIdx.x) * (blockDim.x / warp_size) + threadIdx.x / warp_size : blockIdx.x;
  if (row >= a.rows) return;
  const T* logits = static_cast<const T*>(a.logits) + row * a.row_stride;
  const int outputs = static_cast<int>(a.outputs);
  float largest = -INFINITY, total = 0;
  bool nan = false;
  const auto add = [&](float x) {
    nan = nan || isnan(x) || x == INFINITY;
    if (x > largest) {
      total = total * expf(largest - x) + 1;
      largest = x;
    } else if (x > -INFINITY) {
      total += expf(x - largest);
    }
  };
  if constexpr (small) {
    for (int id = lane; id < outputs; id += warp_size) add(to_float(logits[id]));
  } else {
    constexpr int size = Chunk<T>::size;
    int start = 0;
    if (reinterpret_cast<uintptr_t>(logits) % bytes_at_once == 0) {
      const int whole = outputs / size;
      for (int i = threadIdx.x; i < whole; i += blockDim.x) {
        const Chunk<T> chunk = load(logits + i * size);
#pragma unroll
        for (int k = 0; k < size; ++k) add(to_float(chunk.values[k]));
      }
      start = whole * size;
    }
    for (int id = start + threadIdx.x; id < outputs; id += blockDim.x) add(to_float(logits[id]));
  }
  nan = __any_sync(all_lanes, nan);
  float most = warp_max(largest);
  total = warp_sum(largest > -INFINITY ? total * expf(largest - most) : 0.0F);
  if constexpr (!small) {
    __shared__ float warp_most[wide_warps], warp_total[wide_warps];
    __shared__ bool warp_nan[wide_warps];
    if (lane == 0) {
      warp_most[threadIdx.x / warp_size] = most;
      warp_total[threadIdx.x / warp_size] = total;
      warp_nan[threadIdx.x / warp_size] = nan;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    most = -INFINITY;
    for (int w = 0; w < wide_warps; ++w) most = fmaxf(most, warp_most[w]);
    total = 0;
    for (int w = 0; w < wide_warps; ++w) {
      if (warp_most[w] > -INFINITY) total += warp_total[w] * expf(warp_most[w] - most);
      nan = nan || warp_nan[w];
    }
  }
  if (!small || lane == 0) {
    const float x = to_float(logits[a.tokens == nullptr ? a.column : a.tokens[row]]);
    float out = a.logarithm ? x - most - logf(total) : expf(x - most) / total;
    if (nan || most == -INFINITY) out = NAN;
    // The logarithm of a true zero is the model's right.
    if (!(a.logarithm && out == -INFINITY)) report_if_broken(a.broken, out);
    a.out[row] = out;
  }
}

// One warp a row, two passes, the second out of the cache.
constexpr int measure_threads = 128;

template <typename T>
__global__ void __launch_bounds__(measure_threads) measure_kernel(MeasureArguments a) {
  const int lane = threadIdx.x % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (measure_threads / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  const T* logits = static_cast<const T*>(a.logits) + row * a.row_stride;
  const int outputs = static_cast<int>(a.outputs);
  float largest = -INFINITY, second = -INFINITY;
  bool nan = false;
  for (int id = lane; id < outputs; id += warp_size) {
    const float x = to_float(logits[id]);
    nan = nan || isnan(x);
    second = fmaxf(second, fminf(x, largest));
    largest = fmaxf(largest, x);
  }
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const float other_largest = __shfl_xor_sync(all_lanes, largest, offset);
    const float other_second = __shfl_xor_sync(all_lanes, second, offset);
    second = fmaxf(fmaxf(second, other_second), fminf(largest, other_largest));
    largest = fmaxf(largest, other_largest);
  }
  if (__any_sync(all_lanes, nan) || !isfinite(largest)) {
    if (lane == 0) {
      a.log_probability[row] = a.margin[row] = a.entropy[row] = NAN;
      report_if_broken(a.broken, NAN);
    }
    return;
  }
  float total = 0, moment = 0;
  for (int id = lane; id < outputs; id += warp_size) {
    const float below = to_float(logits[id]) - largest;
    if (below > -INFINITY) {
      const float weight = expf(below);
      total += weight;
      moment += weight * below;
    }
  }
  total = warp_sum(total);
  moment = warp_sum(moment);
  if (lane == 0) {
    const float log_total = logf(total);
    a.log_probability[row] = to_float(logits[a.tokens[row]]) - largest - log_total;
    a.margin[row] = (1 - expf(second - largest)) / total;
    a.entropy[row] = log_total - moment / total;
  }
}

// Radix selection of the counts[b]-th highest key, then one ordered walk.
constexpr int select_threads = 256;

__global__ void __launch_bounds__(select_threads)
    highest_kernel(const float* scores, const bool* eligible, const int64_t* counts, int64_t count_stride, bool* chosen,
                   int64_t length64) {
  __shared__ int bins[256];
  __shared__ int result, result_above;
  __shared__ int warp_counts[select_threads / warp_size];
  const int length = static_cast<int>(length64);
  const int64_t row = blockIdx.x;
  scores += row * length64;
  eligible += row * length64;
  chosen += row * length64;
  const int count = static_cast<int>(counts[row * count_stride]);
  if (count <= 0) {
    for (int t = threadIdx.x; t < length; t += select_threads) chosen[t] = false;
    return;
  }
  uint32_t key = 0;
  int above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bins[threadIdx.x] = 0;
    __syncthreads();
    for (int t = threadIdx.x; t < length; t += select_threads) {
      if (eligible[t]) {
        const uint32_t k = ordered_key(scores[t]);
        if (shift == 24 || (k ^ key) >> (shift + 8) == 0) atomicAdd(&bins[k >> shift & 255], 1);
      }
    }
    key |= static_cast<uint32_t>(bin_reaching(bins, count - 1, &above, &result, &result_above)) << shift;
  }
  int room = count - above;  // for keys equal to `key`
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  for (int start = 0; start < length; start += select_threads) {
    const int t = start + threadIdx.x;
    const bool candidate = t < length && eligible[t];
    const uint32_t k = candidate ? ordered_key(scores[t]) : 0;
    const bool equal = candidate && k == key;
    const unsigned equals = __ballot_sync(all_lanes, equal);
    if (lane == 0) warp_counts[warp] = __popc(equals);
    __syncthreads();
    int before = __popc(equals & ((1U << lane) - 1));
    int all = 0;
    for (int w = 0; w < select_threads / warp_size; ++w) {
      if (w < warp) before += warp_counts[w];
      all += warp_counts[w];
    }
    if (t < length) chosen[t] = candidate && (k > key || (equal && before < room));
    room -= all;
    __syncthreads();
  }
}

// One block a text. Those drawn are gathered in shared memory, and each counts how many come before it: at a few
// hundred positions that costs less than sorting them would.
constexpr int reveal_threads = 512;

template <Rule rule>
__global__ void __launch_bounds__(reveal_threads) reveal_kernel(RevealArguments a) {
  constexpr int warps = reveal_threads / warp_size, at_once = 4;
  extern __shared__ float4 shared[];  // 16 bytes aligned
  const int length = static_cast<int>(a.length), padded = (length + at_once - 1) / at_once * at_once;
  float* values = reinterpret_cast<float*>(shared);      // of those drawn, in the order of their positions
  int* slots = reinterpret_cast<int*>(values + padded);  // of each position: its place there or -1; then its rank
  __shared__ int warp_counts[warps];
  __shared__ int reached;
  const int64_t row = blockIdx.x;
  const float* certainty = a.certainty + row * a.length;
  const bool* drawn = a.drawn + row * a.length;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  if (threadIdx.x == 0) reached = 0;
  int size = 0;
  for (int start = 0; start < length; start += reveal_threads) {
    const int t = start + threadIdx.x;
    const bool here = t < length && drawn[t];
    const unsigned those = __ballot_sync(all_lanes, here);
    if (lane == 0) warp_counts[warp] = __popc(those);
    __syncthreads();
    int slot = size + __popc(those & ((1U << lane) - 1));
    for (int w = 0; w < warps; ++w) {
      if (w < warp) slot += warp_counts[w];
      size += warp_counts[w];
    }
    if (t < length) slots[t] = here ? slot : -1;
    if (here) values[slot] = certainty[t];
    __syncthreads();
  }
  if (threadIdx.x < at_once && size + static_cast<int>(threadIdx.x) < padded) values[size + threadIdx.x] = -INFINITY;
  __syncthreads();
  int fulfil = 0;
  for (int t = threadIdx.x; t < length; t += reveal_threads) {
    const int slot = slots[t];
    if (slot < 0) continue;
    const float value = values[slot];
    int before = 0;
    float sum = 0;
    for (int i = 0; i < size; i += at_once) {
      const float4 four = *reinterpret_cast<const float4*>(values + i);
      const float others[at_once] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        const bool first = others[k] > value || (others[k] == value && i + k > slot);
        before += first ? 1 : 0;
        if constexpr (rule == Rule::entropy_sum) sum -= first ? others[k] : 0.0F;
      }
    }
    bool reveals = false;
    if constexpr (rule == Rule::at_least) reveals = value >= a.bound;
    if constexpr (rule == Rule::factor) reveals = static_cast<float>(before + 2) * (1.0F - value) < a.bound;
    if constexpr (rule == Rule::entropy_sum) reveals = sum <= a.bound;
    fulfil += reveals ? 1 : 0;
    slots[t] = before;  // nobody else reads it
  }
  if (fulfil > 0) atomicAdd(&reached, fulfil);
  __syncthreads();
  int reveals = max(reached, 1);
  if (a.steps_left != nullptr) {
    const int left = static_cast<int>(a.steps_left[row * a.steps_left_stride]);
    reveals = min(max(reached, (size + left) / (left + 1)), max(size - left, 0));
  }
  bool* masked = a.masked + row * a.length;
  for (int t = threadIdx.x; t < length; t += reveal_threads) masked[t] = slots[t] >= reveals;
}

// One warp a row: all of it in registers, id = item * 32 + lane, or with no items read again in each pass.
template <typename T, int items>
__global__ void __launch_bounds__(measure_threads) stable_probability_kernel(StabilityArguments a) {
  // Stands for minus infinity where a product with zero must stay zero; below it expf() is 0.
  constexpr float lowest_log_probability = -1e4F;
  const int lane = threadIdx.x % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (measure_threads / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  const T* logits = static_cast<const T*>(a.logits) + row * a.row_stride;
  float* previous = a.previous + row * a.outputs;
  const int outputs = static_cast<int>(a.outputs);
  float x[items + 1], before[items + 1];
#pragma unroll
  for (int k = 0; k < items; ++k) {
    const int id = k * warp_size + lane;
    x[k] = id < outputs ? to_float(logits[id]) : -INFINITY;
    before[k] = id < outputs ? previous[id] : 0.0F;
  }
  const auto for_each = [&](auto f) {
    if constexpr (items > 0) {
#pragma unroll
      for (int k = 0; k < items; ++k) {
        if (k * warp_size + lane < outputs) f(k * warp_size + lane, x[k], before[k]);
      }
    } else {
      for (int id = lane; id < outputs; id += warp_size) f(id, to_float(logits[id]), previous[id]);
    }
  };
  float largest = -INFINITY;
  bool nan = false;
  for_each([&](int, float value, float) {
    nan = nan || isnan(value);
    largest = fmaxf(largest, value);
  });
  largest = warp_max(largest);
  if (__any_sync(all_lanes, nan) || !isfinite(largest)) {
    if (lane == 0) {
      a.certainty[row] = NAN;
      report_if_broken(a.broken, NAN);
    }
    return;
  }
  float total = 0;
  for_each([&](int, float value, float) { total += expf(value - largest); });
  total = warp_sum(total);
  const float log_total = logf(total);
  float divergence = 0;
  for_each([&](int id, float value, float then) {
    const float now = fmaxf(value - largest - log_total, lowest_log_probability);
    divergence += expf(now) * (now - then);
    previous[id] = now;
  });
  divergence = warp_sum(divergence);
  if (lane == 0) {
    // Minus one becomes 0 whatever the divergence from nothing.
    const int64_t steady = divergence < a.divergence ? a.steady[row] + 1 : 0;
    a.steady[row] = steady;
    const float p = expf(to_float(logits[a.tokens[row]]) - largest) / total;
    a.certainty[row] = p + (steady >= a.history && p >= a.least_probability ? 2.0F : 0.0F);
  }
}

// One warp a row. A candidate for the likeliest is its value's key above its id's complement, so that the largest one
// is the likeliest with the lowest id; each lane keeps its own best in order, and the best of all leave one by one.
template <typename T>
__global__ void __launch_bounds__(measure_threads) trace_kernel(TraceArguments a) {
  using Candidate = unsigned long long;
  constexpr int kept = static_cast<int>(max_traced_likeliest);
  const int lane = threadIdx.x % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (measure_threads / warp_size) + threadIdx.x / warp_size;
  if (row >= a.rows) return;
  const T* logits = static_cast<const T*>(a.logits) + row * a.row_stride;
  const int outputs = static_cast<int>(a.outputs);
  Candidate best[kept] = {};
  float largest = -INFINITY;
  for (int id = lane; id < outputs; id += warp_size) {
    const float x = to_float(logits[id]);
    largest = fmaxf(largest, x);
    Candidate next = static_cast<Candidate>(ordered_key(x + a.forbidden[id])) << 32 | ~static_cast<uint32_t>(id);
#pragma unroll
    for (int k = 0; k < kept; ++k) {
      const Candidate higher = next > best[k] ? next : best[k];
      next = next > best[k] ? best[k] : next;
      best[k] = higher;
    }
  }
  largest = warp_max(largest);
  float total = 0;
  for (int id = lane; id < outputs; id += warp_size) total += expf(to_float(logits[id]) - largest);
  total = warp_sum(total);
  const auto probability = [&](int64_t id) { return expf(to_float(logits[id]) - largest) / total; };
  const int64_t place = *a.slot * a.rows + row;
  for (int64_t n = 0; n < a.likeliest_count; ++n) {
    Candidate winner = best[0];
    for (int offset = warp_size / 2; offset > 0; offset /= 2) {
      const Candidate other = __shfl_xor_sync(all_lanes, winner, offset);
      winner = other > winner ? other : winner;
    }
    if (best[0] == winner) {
#pragma unroll
      for (int k = 0; k + 1 < kept; ++k) best[k] = best[k + 1];
      best[kept - 1] = 0;
    }
    if (lane == n) {
      const uint32_t id = ~static_cast<uint32_t>(winner);
      a.likeliest[place * a.likeliest_count + n] = id;
      a.likeliest_probabilities[place * a.likeliest_count + n] = probability(id);
    }
  }
  if (lane == 0) {
    const int64_t token = a.tokens[row];
    a.confidence[place] = probability(token < outputs ? token : outputs - 1);
    if (a.traced_tokens != nullptr) a.traced_tokens[place] = token;
    if (a.traced_masked != nullptr) a.traced_masked[place] = a.masked[row];
  }
}

__global__ void uniform_kernel(const int64_t* seeds, const int64_t* sample_indices, const int64_t* steps,
                               int64_t step_stride, uint32_t purpose, float* out, int64_t batch, int64_t positions) {
  const int64_t blocks = (positions + 3) / 4;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= batch * blocks) return;
  const int64_t b = thread / blocks, block = thread % blocks;
  const int64_t index = sample_indices[b];
  const auto seed = static_cast<uint64_t>(seeds[b]);
  const philox::Counter words =
      philox::generate({static_cast<uint32_t>(block), static_cast<uint32_t>(steps[b * step_stride]),
                        static_cast<uint32_t>(index), purpose << 24 | (static_cast<uint32_t>(index >> 32) & 0xFFFFFFU)},
                       {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    if (block * 4 + w < positions) out[b * positions + block * 4 + w] = philox::to_uniform(words[w]);
  }
}

// Calls f with a value of the type that `precision` names.
template <typename F>
void with_type(Precision precision, F f) {
  switch (precision) {
    case Precision::float32:
      return f(float{});
    case Precision::float16:
      return f(__half{});
    case Precision::bfloat16:
      return f(__nv_bfloat16{});
  }
}

template <typename T>
void launch_norm(const NormArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.rows, norm_threads / warp_size);
  const int64_t chunks = (a.width / Chunk<T>::size + warp_size - 1) / warp_size;
  if (chunks <= 1) return norm_kernel<T, 1><<<blocks, norm_threads, 0, stream>>>(a);
  if (chunks <= 2) return norm_kernel<T, 2><<<blocks, norm_threads, 0, stream>>>(a);
  if (chunks <= 4) return norm_kernel<T, 4><<<blocks, norm_threads, 0, stream>>>(a);
  norm_kernel<T, 8><<<blocks, norm_threads, 0, stream>>>(a);
}

template <typename T>
void launch_draw(const DrawArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.rows, draw_threads / warp_size);
  const int64_t items = (a.outputs + warp_size - 1) / warp_size;
  if (items <= 2) return draw_small_kernel<T, 2><<<blocks, draw_threads, 0, stream>>>(a);
  if (items <= 3) return draw_small_kernel<T, 3><<<blocks, draw_threads, 0, stream>>>(a);
  if (items <= 4) return draw_small_kernel<T, 4><<<blocks, draw_threads, 0, stream>>>(a);
  if (items <= 8) return draw_small_kernel<T, 8><<<blocks, draw_threads, 0, stream>>>(a);
  const int64_t bytes = a.outputs * static_cast<int64_t>(sizeof(T));
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  const bool staged = bytes + 4096 <= most;  // 4096: what the kernel declares itself, and some
  if (staged)
    cudaFuncSetAttribute(draw_wide_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  draw_wide_kernel<T>
      <<<static_cast<unsigned>(a.rows), wide_threads, staged ? static_cast<size_t>(bytes) : 0, stream>>>(a, staged);
}

template <typename T>
void launch_judge(const JudgeArguments& a, cudaStream_t stream) {
  if (a.outputs <= 1024) {
    judge_kernel<T, true><<<blocks_for(a.rows, draw_threads / warp_size), draw_threads, 0, stream>>>(a);
  } else {
    judge_kernel<T, false><<<static_cast<unsigned>(a.rows), wide_threads, 0, stream>>>(a);
  }
}

template <typename T>
void launch_stable_probability(const StabilityArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.rows, measure_threads / warp_size);
  const int64_t items = (a.outputs + warp_size - 1) / warp_size;
  if (items <= 3) return stable_probability_kernel<T, 3><<<blocks, measure_threads, 0, stream>>>(a);
  if (items <= 8) return stable_probability_kernel<T, 8><<<blocks, measure_threads, 0, stream>>>(a);
  stable_probability_kernel<T, 0><<<blocks, measure_threads, 0, stream>>>(a);
}

}  // namespace

void norm(Precision precision, const NormArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_norm<decltype(type)>(arguments, stream); });
}

void rotate(Precision precision, void* qkv, const float* cosine, const float* sine, int64_t rows, int64_t length,
            int64_t heads, int64_t head_width, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const int64_t threads = rows * heads * head_width / Chunk<T>::size;  // queries and keys, two chunks a thread
    rotate_kernel<T><<<blocks_for(threads, 256), 256, 0, stream>>>(static_cast<T*>(qkv), cosine, sine, rows,
                                                                   static_cast<int>(length), static_cast<int>(heads),
                                                                   static_cast<int>(head_width));
  });
}

void bias_gelu(Precision precision, void* x, const void* bias, int64_t rows, int64_t width, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const int64_t per_row = width / Chunk<T>::size;
    bias_gelu_kernel<T><<<blocks_for(rows * per_row, 256), 256, 0, stream>>>(
        static_cast<T*>(x), static_cast<const T*>(bias), rows * per_row, static_cast<int>(per_row));
  });
}

void decode_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    decode_kernel<decltype(type)>
        <<<static_cast<unsigned>(arguments.batch * arguments.heads), decode_threads, 0, stream>>>(arguments);
  });
}

void draw(Precision precision, const DrawArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_draw<decltype(type)>(arguments, stream); });
}

void judge(Precision precision, const JudgeArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_judge<decltype(type)>(arguments, stream); });
}

void measure(Precision precision, const MeasureArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    measure_kernel<decltype(type)>
        <<<blocks_for(arguments.rows, measure_threads / warp_size), measure_threads, 0, stream>>>(arguments);
  });
}

void highest(const float* scores, const bool* eligible, const int64_t* counts, int64_t count_stride, bool* chosen,
             int64_t batch, int64_t length, cudaStream_t stream) {
  highest_kernel<<<static_cast<unsigned>(batch), select_threads, 0, stream>>>(scores, eligible, counts, count_stride,
                                                                              chosen, length);
}

void reveal(Rule rule, const RevealArguments& arguments, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(arguments.batch);
  const size_t bytes = static_cast<size_t>((arguments.length + 3) / 4 * 4) * (sizeof(float) + sizeof(int));
  switch (rule) {
    case Rule::at_least:
      return reveal_kernel<Rule::at_least><<<blocks, reveal_threads, bytes, stream>>>(arguments);
    case Rule::factor:
      return reveal_kernel<Rule::factor><<<blocks, reveal_threads, bytes, stream>>>(arguments);
    case Rule::entropy_sum:
      reveal_kernel<Rule::entropy_sum><<<blocks, reveal_threads, bytes, stream>>>(arguments);
  }
}

void stable_probability(Precision precision, const StabilityArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_stable_probability<decltype(type)>(arguments, stream); });
}

void trace(Precision precision, const TraceArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    trace_kernel<decltype(type)>
        <<<blocks_for(arguments.rows, measure_threads / warp_size), measure_threads, 0, stream>>>(arguments);
  });
}

void uniform(const int64_t* seeds, const int64_t* sample_indices, const int64_t* steps, int64_t step_stride,
             uint32_t purpose, float* out, int64_t batch, int64_t positions, cudaStream_t stream) {
  uniform_kernel<<<blocks_for(batch * ((positions + 3) / 4), 256), 256, 0, stream>>>(
      seeds, sample_indices, steps, step_stride, purpose, out, batch, positions);
}

}  // namespace demask::kernels::launch
