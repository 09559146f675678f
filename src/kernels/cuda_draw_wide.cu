// Drawing from large vocabularies: one block a row, which is held in shared memory where it fits there.
#include "kernels/cuda_draw.cuh"
#include "kernels/cuda_radix.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int max_rounds = 128;  // of find_crossing

struct Crossing {
  int id = -1;
  float weight = 0;
};

struct Shared {
  float scratch[wide_warps];
  // What a row needs at one time or another.
  union {
    Bins<float> weights;
    Bins<int> counts;
    float sums[max_rounds * wide_warps];
  };
  Crossing crossing;
  float total;
  unsigned long long lowest_id;
};

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
  static constexpr int size = Chunk<T>::size;
  const T* source;
  const float* forbidden;
  int outputs;
  float temperature;
  bool greedy;
  float largest;

  __device__ float tempered(float logit, float forbids) const {
    return greedy ? logit + forbids : (logit + forbids) / temperature;
  }
  __device__ float value(int id) const { return tempered(to_float(source[id]), __ldg(forbidden + id)); }
  __device__ bool starts_chunks() const { return starts_chunk(source) && starts_chunk(forbidden); }

  // Calls f(id, value) for the ids first .. first + size - 1, where first is a multiple of size.
  template <typename F>
  __device__ void for_chunk(int first, F f) const {
    const Chunk<T> logits = load(source + first);
#pragma unroll
    for (int k = 0; k < size; k += Chunk<float>::size) {
      const Chunk<float> forbids = load(forbidden + first + k);
#pragma unroll
      for (int i = 0; i < Chunk<float>::size; ++i) {
        f(first + k + i, tempered(to_float(logits.values[k + i]), forbids.values[i]));
      }
    }
  }

  // Calls f(id, value) for this thread's ids; those of all threads are all.
  template <typename F>
  __device__ void for_each(F f) const {
    const int whole = starts_chunks() ? outputs / size * size : 0;
    for (int first = static_cast<int>(threadIdx.x) * size; first < whole; first += wide_threads * size) {
      for_chunk(first, f);
    }
    for (int id = whole + static_cast<int>(threadIdx.x); id < outputs; id += wide_threads) {
      f(id, value(id));
    }
  }

  // Calls f(id, value) for the ids first .. end - 1 in their order; first is a multiple of size.
  template <typename F>
  __device__ void for_range(int first, int end, F f) const {
    const bool chunks = starts_chunks();
    for (int start = first; start < end; start += size) {
      if (chunks && start + size <= end) {
        for_chunk(start, f);
      } else {
        for (int id = start; id < min(start + size, end); ++id) {
          f(id, value(id));
        }
      }
    }
  }
};

// Infinity where one is NaN.
template <typename T>
__device__ float find_largest(const Row<T>& row, float* scratch) {
  float largest = -INFINITY;
  bool nan = false;
  row.for_each([&](int, float x) {
    nan = nan || isnan(x);
    largest = fmaxf(largest, x);
  });
  return block_max<wide_warps>(nan ? INFINITY : largest, scratch);
}

// The first id at which the weights up to it, in the order of ids, exceed threshold(all weights' total), the same in
// every thread; where rounding keeps them below it, the last id with a weight; -1 where none has one. weight_of(id,
// value) is 0 or above. Each warp sums stretches of ids, and the one in which the threshold falls is looked at again.
template <typename T, typename WeightOf, typename Threshold>
__device__ Crossing find_crossing(const Row<T>& row, Shared& shared, WeightOf weight_of, Threshold threshold) {
  constexpr int size = Row<T>::size, round_of_chunks = wide_threads * size;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int rounds_of_chunks = (row.outputs + round_of_chunks - 1) / round_of_chunks;
  const int per_lane = (rounds_of_chunks + max_rounds - 1) / max_rounds * size, per_warp = per_lane * warp_size;
  const int stretches = (row.outputs + per_warp - 1) / per_warp;
  const auto sum_of_lane = [&](int stretch) {
    const int first = stretch * per_warp + lane * per_lane;
    float sum = 0;
    row.for_range(first, min(first + per_lane, row.outputs), [&](int id, float x) { sum += weight_of(id, x); });
    return sum;
  };
  __syncthreads();  // whoever still reads what shares memory with the sums
  for (int stretch = warp; stretch < stretches; stretch += wide_warps) {
    const float sum = warp_sum(sum_of_lane(stretch));
    if (lane == 0) {
      shared.sums[stretch] = sum;
    }
  }
  __syncthreads();
  if (warp == 0) {
    float total = 0;
    for (int stretch = lane; stretch < stretches; stretch += warp_size) {
      total += shared.sums[stretch];
    }
    total = warp_sum(total);
    const float limit = threshold(total);
    Walk over_stretches{};
    for (int start = 0; start < stretches && over_stretches.chosen.id < 0; start += warp_size) {
      over_stretches.pass(start, start + lane < stretches ? shared.sums[start + lane] : 0.0F, limit, lane);
    }
    Crossing crossing;
    if (const Pick stretch = over_stretches.drawn(); stretch.id >= 0) {
      Walk over_lanes{};
      over_lanes.below = stretch.below;
      over_lanes.pass(0, sum_of_lane(stretch.id), limit, lane);
      const Pick owner = over_lanes.drawn();
      const int first = stretch.id * per_warp + owner.id * per_lane;
      float below = owner.below;
      bool exceeded = false;
      row.for_range(first, min(first + per_lane, row.outputs), [&](int id, float x) {
        const float weight = weight_of(id, x);
        if (!exceeded && weight > 0) {
          below += weight;
          crossing = {id, weight};
          exceeded = below > limit;
        }
      });
    }
    if (lane == 0) {
      shared.crossing = crossing;
      shared.total = total;
    }
  }
  __syncthreads();
  return shared.crossing;
}

// What the filters keep: ids whose key is above `key`, and at `key` itself those below `end_of_equals`.
struct Kept {
  uint32_t key;
  int end_of_equals;
};

template <typename T>
__device__ uint32_t top_k_key(const Row<T>& row, int64_t top_k, Bins<int>& bins) {
  const int limit = static_cast<int>(top_k) - 1;
  int above;
  uint32_t least = 0;
  if (top_k <= wide_threads) {
    // So many threads have an id that is no less likely than the top_k-th of the threads' likeliest: no need to count
    // those below.
    uint32_t own = 0;
    row.for_each([&](int, float x) { own = max(own, ordered_key(x)); });
    least = key_reaching<wide_threads>(bins, limit, &above, [&](auto add) { add(own, 1); });
  }
  return key_reaching<wide_threads>(bins, limit, &above, [&](auto add) {
    row.for_each([&](int, float x) {
      if (ordered_key(x) >= least) {
        add(ordered_key(x), 1);
      }
    });
  });
}

// Ids with one key stay, the lower first, while the weights before them do not exceed the limit: where that ends.
// `above`: the weights of all higher keys.
template <typename T>
__device__ int find_end_of_equals(const Row<T>& row, uint32_t key, float above, float limit, Shared& shared) {
  // The inverse of ordered_key.
  const float value = __uint_as_float(key & 0x80000000U ? key & 0x7FFFFFFFU : ~key);
  const float weight = expf(value - row.largest);
  if (!(weight > 0)) {
    return row.outputs;
  }
  const float stay = floorf(fmaxf(limit - above, 0.0F) / weight) + 1;
  const auto equals = [&](int, float x) { return ordered_key(x) == key ? 1.0F : 0.0F; };
  // Counts below 2^24 are exact.
  const Crossing first_dropped = find_crossing(row, shared, equals, [&](float) { return stay; });
  return shared.total > stay ? first_dropped.id : row.outputs;
}

// Of the ids whose key is at least `least`.
template <typename T>
__device__ Kept find_nucleus(const Row<T>& row, uint32_t least, float top_p, Shared& shared) {
  const auto weight_of = [&](float x) { return ordered_key(x) >= least ? expf(x - row.largest) : 0.0F; };
  float mass = 0;
  row.for_each([&](int, float x) { mass += weight_of(x); });
  mass = block_sum<wide_warps>(mass, shared.scratch);
  const float limit = top_p * mass;
  // All that weigh less are together less than what the nucleus leaves out.
  const float negligible = 0.5F * (mass - limit) / static_cast<float>(row.outputs);
  float above;
  const uint32_t key = key_reaching<wide_threads>(shared.weights, limit, &above, [&](auto add) {
    row.for_each([&](int, float x) {
      const float weight = weight_of(x);
      if (weight > negligible) {
        add(ordered_key(x), weight);
      }
    });
  });
  return {key, find_end_of_equals(row, key, above, limit, shared)};
}

template <typename T>
__device__ void draw_likeliest(const DrawArguments& a, const Row<T>& row, Shared& shared) {
  if (threadIdx.x == 0) {
    shared.lowest_id = ~0ULL;
  }
  __syncthreads();
  float total = 0;
  row.for_each([&](int id, float x) {
    if (x == row.largest) {
      atomicMin(&shared.lowest_id, static_cast<unsigned long long>(id));
    }
    total += expf(x - row.largest);
  });
  total = block_sum<wide_warps>(total, shared.scratch);
  if (threadIdx.x == 0) {
    a.tokens[blockIdx.x] = static_cast<int64_t>(shared.lowest_id);
    a.probabilities[blockIdx.x] = 1 / total;
  }
}

template <typename T>
__device__ void draw_by_threshold(const DrawArguments& a, const Row<T>& row, const Kept& kept, Shared& shared) {
  const auto weight_of = [&](int id, float x) {
    const uint32_t key = ordered_key(x);
    return key > kept.key || (key == kept.key && id < kept.end_of_equals) ? expf(x - row.largest) : 0.0F;
  };
  const float uniform = a.uniforms[blockIdx.x];
  const Crossing drawn = find_crossing(row, shared, weight_of, [&](float total) { return uniform * total; });
  if (threadIdx.x == 0) {
    a.tokens[blockIdx.x] = drawn.id;
    a.probabilities[blockIdx.x] = drawn.weight / shared.total;
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
    kept.key = top_k_key(row, a.top_k, shared.counts);
  }
  if (filters_top_p(a, row.greedy)) {
    kept = find_nucleus(row, kept.key, a.top_p, shared);
  }
  if (row.greedy) {
    draw_likeliest(a, row, shared);
  } else {
    draw_by_threshold(a, row, kept, shared);
  }
}

template <typename T>
void launch_draw(const DrawArguments& a, cudaStream_t stream) {
  const int64_t bytes = a.logits.outputs * static_cast<int64_t>(sizeof(T));
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  const bool staged = bytes + static_cast<int64_t>(sizeof(Shared)) + 1024 <= most;  // 1024: the system's own
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
