// Drawing from large vocabularies: one block a row, which is held in shared memory where it fits there.
#include "kernels/cuda_draw.cuh"
#include "kernels/cuda_radix.cuh"

namespace demask::kernels::cuda::launch {
namespace {

struct Shared {
  float scratch[wide_warps];
  float segments[wide_warps];
  Bins<float> bins;
  int end_of_equals;
  unsigned long long lowest_id;
};

__device__ float block_max(float x, float* scratch) {
  x = warp_max(x);
  __syncthreads();
  if (threadIdx.x % warp_size == 0) {
    scratch[threadIdx.x / warp_size] = x;
  }
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < wide_warps; ++w) {
    x = fmaxf(x, scratch[w]);
  }
  return x;
}
__device__ float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % warp_size == 0) {
    scratch[threadIdx.x / warp_size] = x;
  }
  __syncthreads();
  x = 0;
  for (int w = 0; w < wide_warps; ++w) {
    x += scratch[w];
  }
  return x;
}

template <typename T>
__device__ const T* stage_row(const T* source, int outputs, unsigned char* stage) {
  T* copy = reinterpret_cast<T*>(stage);
  if (starts_chunk(source)) {
    constexpr int size = Chunk<T>::size;
    const int whole = outputs / size;
    for (int i = threadIdx.x; i < whole; i += wide_threads) {
      store(copy + i * size, load(source + i * size));
    }
    for (int i = whole * size + threadIdx.x; i < outputs; i += wide_threads) {
      copy[i] = source[i];
    }
  } else {
    for (int i = threadIdx.x; i < outputs; i += wide_threads) {
      copy[i] = source[i];
    }
  }
  __syncthreads();
  return copy;
}

// Tempered logits, computed again in each pass.
template <typename T>
struct Row {
  const T* source;
  const float* forbidden;
  int outputs;
  float temperature;
  bool greedy;
  float largest;

  __device__ float value(int id) const {
    const float x = to_float(source[id]) + __ldg(forbidden + id);
    return greedy ? x : x / temperature;
  }
  // Of an id whose key is at least `least`; of the others 0.
  __device__ float weight_from(int id, uint32_t least) const {
    const float x = value(id);
    return ordered_key(x) >= least ? expf(x - largest) : 0.0F;
  }
};

// Infinity where one is NaN.
template <typename T>
__device__ float find_largest(const Row<T>& row, float* scratch) {
  float largest = -INFINITY;
  bool nan = false;
  for (int id = threadIdx.x; id < row.outputs; id += wide_threads) {
    const float x = row.value(id);
    nan = nan || isnan(x);
    largest = fmaxf(largest, x);
  }
  return block_max(nan ? INFINITY : largest, scratch);
}

// What the filters keep: ids whose key is above `key`, and at `key` itself those below `end_of_equals`.
struct Kept {
  uint32_t key;
  int end_of_equals;
};

template <typename T>
__device__ float kept_weight(const Row<T>& row, const Kept& kept, int id) {
  const float x = row.value(id);
  const uint32_t k = ordered_key(x);
  return k > kept.key || (k == kept.key && id < kept.end_of_equals) ? expf(x - row.largest) : 0.0F;
}

template <typename T>
__device__ uint32_t top_k_key(const Row<T>& row, int64_t top_k, Bins<float>& bins) {
  float above;  // counts below 2^24 are exact
  return key_reaching<wide_threads>(bins, static_cast<float>(top_k) - 0.5F, &above, [&](auto add) {
    for (int id = threadIdx.x; id < row.outputs; id += wide_threads) {
      add(ordered_key(row.value(id)), 1.0F);
    }
  });
}

// Ids with one key stay, the lower first, while the weights before them do not exceed the limit: where that ends. For
// one warp; `before`: the weights of all higher keys.
template <typename T>
__device__ int find_end_of_equals(const Row<T>& row, uint32_t key, float before, float limit, int lane) {
  for (int start = 0; start < row.outputs; start += warp_size) {
    const int id = start + lane;
    const bool equal = id < row.outputs && ordered_key(row.value(id)) == key;
    const float w = equal ? expf(row.value(id) - row.largest) : 0.0F;
    const unsigned equals = __ballot_sync(all_lanes, equal);
    if (equals == 0) {
      continue;
    }
    const float exclusive = before + warp_scan(w, lane) - w;
    const unsigned dropped = __ballot_sync(all_lanes, equal && exclusive > limit);
    if (dropped != 0) {
      return start + __ffs(static_cast<int>(dropped)) - 1;
    }
    before = __shfl_sync(all_lanes, exclusive + w, warp_size - 1);
  }
  return row.outputs;
}

// Of the ids whose key is at least `least`.
template <typename T>
__device__ Kept find_nucleus(const Row<T>& row, uint32_t least, float top_p, Shared& shared) {
  float mass = 0;
  for (int id = threadIdx.x; id < row.outputs; id += wide_threads) {
    mass += row.weight_from(id, least);
  }
  mass = block_sum(mass, shared.scratch);
  const float limit = top_p * mass;
  float above;
  const uint32_t key = key_reaching<wide_threads>(shared.bins, limit, &above, [&](auto add) {
    for (int id = threadIdx.x; id < row.outputs; id += wide_threads) {
      const float w = row.weight_from(id, least);
      if (w > 0) {
        add(ordered_key(row.value(id)), w);
      }
    }
  });
  if (threadIdx.x < warp_size) {
    const int end = find_end_of_equals(row, key, above, limit, static_cast<int>(threadIdx.x));
    if (threadIdx.x == 0) {
      shared.end_of_equals = end;
    }
  }
  __syncthreads();
  return {key, shared.end_of_equals};
}

template <typename T>
__device__ void draw_likeliest(const DrawArguments& a, const Row<T>& row, Shared& shared) {
  if (threadIdx.x == 0) {
    shared.lowest_id = ~0ULL;
  }
  __syncthreads();
  float total = 0;
  for (int id = threadIdx.x; id < row.outputs; id += wide_threads) {
    const float x = row.value(id);
    if (x == row.largest) {
      atomicMin(&shared.lowest_id, static_cast<unsigned long long>(id));
    }
    total += expf(x - row.largest);
  }
  total = block_sum(total, shared.scratch);
  if (threadIdx.x == 0) {
    a.tokens[blockIdx.x] = static_cast<int64_t>(shared.lowest_id);
    a.probabilities[blockIdx.x] = 1 / total;
  }
}

struct Segment {
  int warp = -1;
  float below = 0;  // the weights of all segments before
};

// The segment in which the threshold falls.
__device__ Segment find_segment(const float* segments, float threshold) {
  Segment owner, last;
  last.warp = 0;
  float below = 0;
  for (int w = 0; w < wide_warps; ++w) {
    if (segments[w] > 0) {
      last = {w, below};
      if (owner.warp < 0 && below + segments[w] > threshold) {
        owner = {w, below};
      }
    }
    below += segments[w];
  }
  return owner.warp < 0 ? last : owner;
}

// Each warp sums a contiguous segment; the one in which the threshold falls walks its own again.
template <typename T>
__device__ void draw_by_threshold(const DrawArguments& a, const Row<T>& row, const Kept& kept, float* segments) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int per_warp = (row.outputs + wide_warps - 1) / wide_warps;
  const int begin = warp * per_warp, end = min(begin + per_warp, row.outputs);
  float own = 0;
  for (int id = begin + lane; id < end; id += warp_size) {
    own += kept_weight(row, kept, id);
  }
  own = warp_sum(own);
  if (lane == 0) {
    segments[warp] = own;
  }
  __syncthreads();
  float total = 0;
  for (int w = 0; w < wide_warps; ++w) {
    total += segments[w];
  }
  const float threshold = a.uniforms[blockIdx.x] * total;
  const Segment owner = find_segment(segments, threshold);
  if (warp != owner.warp) {
    return;
  }
  Walk walk{owner.below};
  for (int start = begin; start < end && walk.chosen.id < 0; start += warp_size) {
    walk.pass(start, start + lane < end ? kept_weight(row, kept, start + lane) : 0.0F, threshold, lane);
  }
  if (lane == 0) {
    a.tokens[blockIdx.x] = walk.drawn().id;
    a.probabilities[blockIdx.x] = walk.drawn().weight / total;
  }
}

template <typename T>
__global__ void __launch_bounds__(wide_threads) draw_wide_kernel(DrawArguments a, bool staged) {
  extern __shared__ __align__(16) unsigned char stage[];
  __shared__ Shared shared;
  const int64_t index = blockIdx.x;
  if (!wanted(a, index)) {
    if (threadIdx.x == 0) {
      keep_given(a, index);
    }
    return;
  }
  Row<T> row;
  row.source = row_of<T>(a.logits, index);
  row.forbidden = a.forbidden;
  row.outputs = static_cast<int>(a.logits.outputs);
  row.temperature = temperature_of(a, index);
  row.greedy = row.temperature == 0;
  if (staged) {
    row.source = stage_row(row.source, row.outputs, stage);
  }
  row.largest = find_largest(row, shared.scratch);
  if (!isfinite(row.largest)) {
    if (threadIdx.x == 0) {
      report_broken_row(a, index);
    }
    return;
  }
  Kept kept{0, row.outputs};
  if (filters_top_k(a, row.greedy)) {
    kept.key = top_k_key(row, a.top_k, shared.bins);
  }
  if (filters_top_p(a, row.greedy)) {
    kept = find_nucleus(row, kept.key, a.top_p, shared);
  }
  if (row.greedy) {
    draw_likeliest(a, row, shared);
  } else {
    draw_by_threshold(a, row, kept, shared.segments);
  }
}

template <typename T>
void launch_draw(const DrawArguments& a, cudaStream_t stream) {
  const int64_t bytes = a.logits.outputs * static_cast<int64_t>(sizeof(T));
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  const bool staged = bytes + 4096 <= most;  // 4096: what the kernel declares itself, and some
  if (staged) {
    cudaFuncSetAttribute(draw_wide_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  }
  const size_t stage = staged ? static_cast<size_t>(bytes) : 0;
  draw_wide_kernel<T><<<static_cast<unsigned>(a.logits.rows), wide_threads, stage, stream>>>(a, staged);
}

}  // namespace

void draw_wide(Precision precision, const DrawArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_draw<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch
