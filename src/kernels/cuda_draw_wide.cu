// Drawing from large vocabularies: one block a row, which is held in shared memory where it fits there, tempered if
// that fits as well.
#include "kernels/cuda_draw_row.cuh"
#include "kernels/cuda_radix.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int max_candidates = 1024;  // of top_k_key

// More threads go through a row sooner, where it is long enough for them.
constexpr int most_threads = 1024, most_warps = most_threads / warp_size;
constexpr int64_t outputs_for_most_threads = 16384;
unsigned threads_for(int64_t outputs) {
  return outputs < outputs_for_most_threads ? wide_threads : most_threads;
}

struct Shared {
  float scratch[most_warps];
  // What a row needs at one time or another.
  union {
    Bins<float> weights;
    Bins<int> counts;
    float sums[Stretches::most];
  };
  uint32_t candidates[max_candidates];
  int candidate_count;
  Crossing crossing;
  float total;
  unsigned long long lowest_id;
};

__device__ float sum_of_block(float x, Shared& shared) {
  return combine_warps(warp_sum(x), shared.scratch, static_cast<int>(blockDim.x) / warp_size,
                       [](float one, float other) { return one + other; });
}

// cross_stretches by a block, the same in every thread. weight_of(id, value) is 0 or above.
template <typename Row, typename WeightOf, typename Threshold>
__device__ Crossing find_crossing(const Row& row, Shared& shared, WeightOf weight_of, Threshold threshold) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const Stretches stretches(row.outputs);
  __syncthreads();  // whoever still reads what shares memory with the sums
  for (int stretch = warp; stretch < stretches.count; stretch += static_cast<int>(blockDim.x) / warp_size) {
    const float sum = warp_sum(sum_of_lane(row, stretches, stretch, lane, weight_of));
    if (lane == 0) {
      shared.sums[stretch] = sum;
    }
  }
  __syncthreads();
  if (warp == 0) {
    float total;
    const Crossing crossing = cross_stretches(row, stretches, shared.sums, &total, weight_of, threshold);
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

// The keys that are at least `least`, in shared memory in any order; false where they are too many.
template <typename Row>
__device__ bool collect_candidates(const Row& row, uint32_t least, Shared& shared) {
  if (threadIdx.x == 0) {
    shared.candidate_count = 0;
  }
  __syncthreads();
  row.for_each([&](int, float x) {
    const uint32_t key = ordered_key(x);
    if (key >= least) {
      const int place = atomicAdd(&shared.candidate_count, 1);
      if (place < max_candidates) {
        shared.candidates[place] = key;
      }
    }
  });
  __syncthreads();
  return shared.candidate_count <= max_candidates;
}

template <typename Row>
__device__ uint32_t top_k_key(const Row& row, int64_t top_k, Shared& shared) {
  const int limit = static_cast<int>(top_k) - 1;
  int above;
  uint32_t least = 0;
  if (top_k <= blockDim.x) {
    // So many threads have an id that is no less likely than the top_k-th of the threads' likeliest: no need to count
    // those below, and few are left.
    uint32_t own = 0;
    row.for_each([&](int, float x) { own = max(own, ordered_key(x)); });
    least = key_reaching(shared.counts, limit, &above, [&](auto add) { add(own, 1); });
    if (collect_candidates(row, least, shared)) {
      return key_reaching(shared.counts, limit, &above, [&](auto add) {
        for (int i = static_cast<int>(threadIdx.x); i < shared.candidate_count; i += static_cast<int>(blockDim.x)) {
          add(shared.candidates[i], 1);
        }
      });
    }
  }
  return key_reaching(shared.counts, limit, &above, [&](auto add) {
    row.for_each([&](int, float x) {
      if (ordered_key(x) >= least) {
        add(ordered_key(x), 1);
      }
    });
  });
}

// Ids with one key stay, the lower first, while the weights before them do not exceed the limit: where that ends.
// `above`: the weights of all higher keys.
template <typename Row>
__device__ int find_end_of_equals(const Row& row, uint32_t key, float above, float limit, Shared& shared) {
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
template <typename Row>
__device__ Kept find_nucleus(const Row& row, uint32_t least, float top_p, Shared& shared) {
  const auto weight_of = [&](float x) { return ordered_key(x) >= least ? expf(x - row.largest) : 0.0F; };
  float mass = 0;
  row.for_each([&](int, float x) { mass += weight_of(x); });
  mass = sum_of_block(mass, shared);
  const float limit = top_p * mass;
  // All that weigh less are together less than what the nucleus leaves out.
  const float negligible = 0.5F * (mass - limit) / static_cast<float>(row.outputs);
  float above;
  const uint32_t key = key_reaching(shared.weights, limit, &above, [&](auto add) {
    row.for_each([&](int, float x) {
      const float weight = weight_of(x);
      if (weight > negligible) {
        add(ordered_key(x), weight);
      }
    });
  });
  return {key, find_end_of_equals(row, key, above, limit, shared)};
}

template <typename Row>
__device__ void draw_likeliest(const DrawArguments& a, const Row& row, Shared& shared) {
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
  total = sum_of_block(total, shared);
  if (threadIdx.x == 0) {
    a.tokens[blockIdx.x] = static_cast<int64_t>(shared.lowest_id);
    a.probabilities[blockIdx.x] = 1 / total;
  }
}

template <typename Row>
__device__ void draw_by_threshold(const DrawArguments& a, const Row& row, const Kept& kept, Shared& shared) {
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

template <typename Row>
__device__ void draw_row(const DrawArguments& a, Row row, Shared& shared) {
  row.largest = find_largest(row, shared.scratch);
  if (!isfinite(row.largest)) {
    if (threadIdx.x == 0) {
      report_broken_row(a, blockIdx.x);
    }
    return;
  }
  Kept kept{0, row.outputs};
  if (filters_top_k(a, row.greedy)) {
    kept.key = top_k_key(row, a.top_k, shared);
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

// What of a row a block holds in shared memory.
enum class Stage { none, logits, tempered };

template <typename T, Stage stage>
__global__ void __launch_bounds__(most_threads) draw_wide_kernel(DrawArguments a) {
  extern __shared__ __align__(16) unsigned char room[];
  __shared__ Shared shared;
  const int64_t index = blockIdx.x;
  if (!wanted(a, index)) {
    if (threadIdx.x == 0) {
      keep_given(a, index);
    }
    return;
  }
  const int outputs = static_cast<int>(a.logits.outputs);
  const float temperature = temperature_of(a, index);
  Row<T, false> row{row_of<T>(a.logits, index), a.forbidden, outputs, temperature, temperature == 0, 0};
  if constexpr (stage == Stage::tempered) {
    float* values = reinterpret_cast<float*>(room);
    row.for_each([&](int id, float x) { values[id] = x; });
    __syncthreads();
    draw_row(a, Row<float, true>{values, nullptr, outputs, temperature, row.greedy, 0}, shared);
  } else {
    if constexpr (stage == Stage::logits) {
      row.source = stage_row(row.source, outputs, room);
    }
    draw_row(a, row, shared);
  }
}

template <typename T, Stage stage>
void launch_draw(const DrawArguments& a, int64_t bytes, cudaStream_t stream) {
  const auto kernel = draw_wide_kernel<T, stage>;
  if (bytes > 0) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  }
  kernel<<<static_cast<unsigned>(a.logits.rows), threads_for(a.logits.outputs), static_cast<size_t>(bytes), stream>>>(
      a);
}

template <typename T>
void launch_draw(const DrawArguments& a, cudaStream_t stream) {
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  const int64_t room = most - static_cast<int64_t>(sizeof(Shared)) - 1024;  // 1024: the system's own
  const int64_t outputs = a.logits.outputs, bytes = outputs * static_cast<int64_t>(sizeof(T));
  const int64_t tempered_bytes = outputs * static_cast<int64_t>(sizeof(float));
  // Of many rows a multiprocessor had better hold several, for which tempered ones leave no room.
  if (tempered_bytes <= room && a.logits.rows <= multiprocessors()) {
    launch_draw<T, Stage::tempered>(a, tempered_bytes, stream);
  } else if (bytes <= room) {
    launch_draw<T, Stage::logits>(a, bytes, stream);
  } else {
    launch_draw<T, Stage::none>(a, 0, stream);
  }
}

}  // namespace

void draw_wide(Precision precision, const DrawArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_draw<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch
