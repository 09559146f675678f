// decode_attention of few texts whose heads have 64 values and are taken as they are, with the bits of
// cuda_attention.cu, in as few instructions as can be (cuda_rows_two.cu says why). The blocks that share a head are a
// cluster.
#include "kernels/cuda_attention_few.cuh"
#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_rows.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int width = 64, size = 8;             // values of a head, and of a thread's chunk
constexpr int lanes = width / size;             // that share a key
constexpr int groups = decode_threads / lanes;  // of lanes in a block
constexpr int keys_each = keys_ahead * groups;  // of a block
constexpr int most_parts = 8;                   // warps of a block, or blocks of a cluster
static_assert(decode_warps == most_parts && most_clustered == most_parts);

// What the parts of a head found: values mixed, to be divided by the total behind them, and the largest scores.
struct Found {
  float mixed[most_parts][width + 4];  // the total stands at `width`
  float largest[most_parts];
};

struct FewShared {
  Found of_warps, of_blocks;
  Inbox inbox;  // of the cluster's first block, for what the others found
};

// Where a thread stands: its chunk of a head, and its first key, of which the next is `groups` on.
struct FewPlace {
  int lane, warp, part, first_key;

  explicit __device__ FewPlace(int split)
      : lane(static_cast<int>(threadIdx.x) % warp_size),
        warp(static_cast<int>(threadIdx.x) / warp_size),
        part(static_cast<int>(threadIdx.x) % lanes * size),
        first_key(split * keys_each + static_cast<int>(threadIdx.x) / lanes) {}
};

// A thread's chunks of its keys and values.
template <typename T>
struct FewPast {
  T *own_keys, *own_values;  // of the first key
  Bits keys[keys_ahead], values[keys_ahead];

  // Those before `position`. row: of all texts' heads.
  __device__ FewPast(const DecodeArguments& a, const FewPlace& place, int64_t row, int position) {
    const int64_t at = (row * a.capacity + place.first_key) * width + place.part;
    own_keys = static_cast<T*>(a.keys) + at;
    own_values = static_cast<T*>(a.values) + at;
#pragma unroll
    for (int k = 0; k < keys_ahead; ++k) {
      const bool known = place.first_key + k * groups < position;
      keys[k] = known ? *reinterpret_cast<const Bits*>(own_keys + k * groups * width) : Bits{};
      values[k] = known ? *reinterpret_cast<const Bits*>(own_values + k * groups * width) : Bits{};
    }
  }

  // Takes the new token's, which are `key` and `value`, where the thread has it: `on` keys after its first.
  __device__ void take_new(const T* key, const T* value, int on) {
    if (on < 0 || on >= keys_each || on % groups != 0) {
      return;
    }
    const Bits new_key = *reinterpret_cast<const Bits*>(key), new_value = *reinterpret_cast<const Bits*>(value);
#pragma unroll
    for (int k = 0; k < keys_ahead; ++k) {
      if (on == k * groups) {
        keys[k] = new_key;
        values[k] = new_value;
      }
    }
    *reinterpret_cast<Bits*>(own_keys + on * width) = new_key;
    *reinterpret_cast<Bits*>(own_values + on * width) = new_value;
  }
};

template <typename T>
__device__ void to_values(const Bits& bits, float (&values)[size]) {
  to_floats(*reinterpret_cast<const Chunk<T>*>(&bits), values);
}

// mix_own and merge_groups of the keys up to `position`.
template <typename T>
__device__ Mixture<size> mix_few(const FewPast<T>& past, const float (&q)[size], int first_key, int position) {
  float scores[keys_ahead];
#pragma unroll
  for (int k = 0; k < keys_ahead; ++k) {
    float key[size];
    to_values<T>(past.keys[k], key);
    scores[k] = 0;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      scores[k] = fmaf(q[i], key[i], scores[k]);
    }
  }
#pragma unroll
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (float& score : scores) {
      score += __shfl_xor_sync(all_lanes, score, offset);
    }
  }
  Mixture<size> m;
#pragma unroll
  for (int k = 0; k < keys_ahead; ++k) {
    scores[k] = first_key + k * groups <= position ? scores[k] : -INFINITY;
    m.largest = fmaxf(m.largest, scores[k]);
  }
#pragma unroll
  for (int k = 0; k < keys_ahead; ++k) {
    const float weight = __expf(scores[k] - m.largest);
    float value[size];
    to_values<T>(past.values[k], value);
    m.total += weight;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      m.mixed[i] = fmaf(weight, value[i], m.mixed[i]);
    }
  }
#pragma unroll 1  // so that the second turn finds its instructions
  for (int offset = lanes; offset < warp_size; offset *= 2) {
    merge_with<size>(m, offset);
  }
  return m;
}

__device__ void keep_of_warp(const Mixture<size>& m, const FewPlace& place, Found& found) {
  if (place.lane < lanes) {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      found.mixed[place.warp][place.part + i] = m.mixed[i];
    }
  }
  if (place.lane == 0) {
    found.mixed[place.warp][width] = m.total;
    found.largest[place.warp] = m.largest;
  }
}

// Value `index` and the total of `count` parts, as merge_parts makes them; by whole warps. It is called for the warps
// and then for the blocks, and the second time finds its instructions.
__device__ __noinline__ Merged merge_found(const Found& found, int count, int index) {
  const int part_of_lane = static_cast<int>(threadIdx.x) % most_parts;
  const float own = part_of_lane < count ? found.largest[part_of_lane] : -FLT_MAX;
  Merged all;
  all.largest = own;
#pragma unroll
  for (int offset = most_parts / 2; offset > 0; offset /= 2) {
    all.largest = fmaxf(all.largest, __shfl_xor_sync(all_lanes, all.largest, offset));
  }
  const float share = __expf(own - all.largest);
#pragma unroll
  for (int part = 0; part < most_parts; ++part) {
    const float weight = __shfl_sync(all_lanes, share, part);
    if (part < count) {
      all.mixed = fmaf(found.mixed[part][index], weight, all.mixed);
      all.total = fmaf(found.mixed[part][width], weight, all.total);
    }
  }
  return all;
}

// Merges what the blocks found, each of which has `own` in the threads of three warps: a value, from `width` on the
// total and behind it the largest score. False in all blocks but the first.
__device__ bool merge_cluster(FewShared& shared, Merged& own, int split, int active) {
  const int index = static_cast<int>(threadIdx.x);
  const float found = index <= width ? own.mixed : own.largest;
  float* const to = index <= width ? &shared.of_blocks.mixed[split][index] : &shared.of_blocks.largest[split];
  if (split > 0) {
    if (index <= width + 1) {
      shared.inbox.send(found, to, 0);
    }
    return false;
  }
  if (index <= width + 1) {
    *to = found;
  }
  shared.inbox.wait(0);
  wait_for_threads(1, width + warp_size);
  own = merge_found(shared.of_blocks, active, min(index, width));
  return true;
}

template <typename T>
__global__ void __launch_bounds__(decode_threads) few_attention_kernel(DecodeArguments a) {
  __shared__ FewShared shared;
  const int position = static_cast<int>(*a.position), split = static_cast<int>(blockIdx.x);
  const int active = position / keys_each + 1;
  if (split >= active) {
    return;
  }
  const int heads = static_cast<int>(a.heads.queries), head = static_cast<int>(blockIdx.y);
  const int text = static_cast<int>(blockIdx.z), index = static_cast<int>(threadIdx.x);
  const int64_t row = int64_t{text} * heads + head;
  const FewPlace place(split);
  FewPast<T> past(a, place, row, position);
  if (active > 1) {
    if (split == 0 && index == 0) {
      shared.inbox.begin();
      shared.inbox.expect(static_cast<unsigned>((active - 1) * (width + 2)) * sizeof(float));
    }
    __syncwarp();
    arrive_at_cluster();
  }
  let_next_begin();
  wait_for_kernels_before();
  const T* const query = static_cast<const T*>(a.qkv) + (int64_t{3} * text * heads + head) * width + place.part;
  float q[size];
  to_floats(load(query), q);
  if (split == active - 1) {
    past.take_new(query + heads * width, query + 2 * heads * width, position - place.first_key);
  }
  const float scale = rsqrtf(static_cast<float>(width));
#pragma unroll
  for (float& component : q) {
    component *= scale;
  }
  keep_of_warp(mix_few(past, q, place.first_key, position), place, shared.of_warps);
  __syncthreads();
  if (active > 1 && index >= width + warp_size) {
    wait_for_cluster();
  }
  if (index >= width + warp_size) {
    return;
  }
  Merged all = merge_found(shared.of_warps, decode_warps, min(index, width));
  if (active > 1) {
    wait_for_cluster();
    if (!merge_cluster(shared, all, split, active)) {
      return;
    }
  }
  if (index < width) {
    static_cast<T*>(a.mixed)[row * width + index] = from_float<T>(all.mixed / all.total);
  }
}

template <typename T>
bool launch_few(const DecodeArguments& a, cudaStream_t stream) {
  const auto kernel = few_attention_kernel<T>;
  if (!waits_by_itself(kernel)) {
    return false;
  }
  const auto cluster = static_cast<unsigned>(cluster_of(a.splits));
  const dim3 blocks(cluster, static_cast<unsigned>(a.heads.queries), static_cast<unsigned>(a.batch));
  launch_early(kernel, EarlyLaunch{blocks, decode_threads, 0, stream, cluster}, a);
  return true;
}

}  // namespace

bool few_attention(Precision precision, const DecodeArguments& a, cudaStream_t stream) {
  const bool fits = a.heads.head_width == width && a.heads.queries == a.heads.keys && takes_heads_as_they_are(a.heads);
  const bool few = a.splits <= most_parts && gain_by_clusters(a.batch * a.heads.queries, a.splits);
  if (precision == Precision::float32 || !fits || !few) {
    return false;
  }
  return precision == Precision::float16 ? launch_few<__half>(a, stream) : launch_few<__nv_bfloat16>(a, stream);
}

}  // namespace demask::kernels::cuda::launch
