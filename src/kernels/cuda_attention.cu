// Attention of one new token a sequence to its own past, which also takes the token's key and value into the cache.
// The past is split among blocks, each of which asks for all its keys and values at once, before the queries are even
// there. Where these blocks are a cluster, its first merges what all of them found; else the last to end does.
#include "kernels/cuda_attention_few.cuh"
#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// Queries that a block takes at a time, and these times their width: what its registers and shared memory hold of them.
constexpr int64_t max_block_queries = 4, max_block_query_values = 1024;

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

// What this block found of component i of the group's query n.
template <typename T, int queries>
__device__ Merged found_here(const DecodeShared<T, queries>& shared, int n, int i, int width) {
  return merge_parts(shared.largest + n * decode_warps, shared.total + n * decode_warps,
                     shared.mixed + n * decode_warps * width + i, decode_warps, 1, width);
}

// Writes what `active` splits found of a group: those of query n from found + n * width_each on, `apart` values apart.
template <typename T>
__device__ void write_merged(const DecodeGroup<T>& group, const float* found, int active, int width, int width_each,
                             int apart, T* out) {
  for (int index = threadIdx.x; index < group.count * width; index += decode_threads) {
    const int n = index / width, i = index - n * width;
    const float* own = found + n * width_each;
    const Merged all = merge_parts(own + width, own + width + 1, own + i, active, apart, apart);
    out[index] = from_float<T>(all.mixed / all.total);
  }
}

// Merges the warps' mixtures of a group, and where others share it, all of theirs.
template <typename T, int queries>
__device__ void write_mixed(const DecodeArguments& a, const DecodeGroup<T>& group, int active, int width,
                            const DecodeShared<T, queries>& shared) {
  const int64_t first_head = group.sequence * a.heads.queries + group.first_query;
  T* out = static_cast<T*>(a.mixed) + first_head * width;
  for (int index = threadIdx.x; index < group.count * width; index += decode_threads) {
    const int n = index / width, i = index - n * width;
    const Merged own = found_here(shared, n, i, width);
    if (active == 1) {
      out[index] = from_float<T>(own.mixed / own.total);
      continue;
    }
    float* found = found_by(a, first_head + n, group.split, width);
    found[i] = own.mixed;
    if (i == 0) {
      found[width] = own.largest;
      found[width + 1] = own.total;
    }
  }
  if (active > 1 && ends_last(a, group, active)) {
    const int apart = width + static_cast<int>(decode_found_extra);
    write_merged(group, found_by(a, first_head, 0, width), active, width, static_cast<int>(a.splits) * apart, apart,
                 out);
  }
}

// What a split of a cluster sends of a head, in whole chunks: width values, their largest score and their total.
__host__ __device__ constexpr int sent_values(int width) {
  return width + static_cast<int>(bytes_at_once / static_cast<int64_t>(sizeof(float)));
}

// Where the first block of a cluster gets what the others found.
struct FoundInbox {
  Inbox* inbox;
  float* found;  // [splits, queries, sent_values]

  // Before the others send. Every block of the cluster that does not end comes here, and to write_mixed_by_cluster.
  template <typename T>
  __device__ void begin(const DecodeGroup<T>& group, int active, int width) const {
    if (group.split == 0 && threadIdx.x == 0) {
      inbox->begin();
      inbox->expect(static_cast<unsigned>((active - 1) * group.count * sent_values(width)) * sizeof(float));
    }
    __syncwarp();
    arrive_at_cluster();
  }
};

// The same as write_mixed by the blocks of a cluster.
template <typename T, int queries>
__device__ void write_mixed_by_cluster(const DecodeArguments& a, const DecodeGroup<T>& group, int active, int width,
                                       const DecodeShared<T, queries>& shared, const FoundInbox& to) {
  const int each = sent_values(width), values = group.count * width, lane = threadIdx.x % warp_size;
  float* found = to.found + group.split * queries * each;
  wait_for_cluster();
  for (int start = 0; start < values; start += decode_threads) {
    const int index = start + static_cast<int>(threadIdx.x), within = min(index, values - 1);
    const int n = within / width, i = within - n * width;
    const Merged own = found_here(shared, n, i, width);
    float* target = found + n * each;
    if (group.split == 0) {
      if (index < values) {
        target[i] = own.mixed;
        target[width] = own.largest;
        target[width + 1] = own.total;
      }
      continue;
    }
    int words[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      words[k] = __shfl_sync(all_lanes, __float_as_int(own.mixed), lane / 4 * 4 + k);
    }
    if (index < values && i % 4 == 0) {
      to.inbox->send(int4{words[0], words[1], words[2], words[3]}, target + i, 0);
    }
    if (index < values && i == 0) {
      to.inbox->send(int4{__float_as_int(own.largest), __float_as_int(own.total), 0, 0}, target + width, 0);
    }
  }
  if (group.split == 0) {
    to.inbox->wait(0);
    __syncthreads();
    const int64_t first_head = group.sequence * a.heads.queries + group.first_query;
    write_merged(group, to.found, active, width, each, queries * each, static_cast<T*>(a.mixed) + first_head * width);
  }
}

// One block takes up to `queries` heads of one sequence that share a key head, over one split of the keys. Softmax is
// taken on the fly (Milakov and Gimelshein 2018), so that keys and values are read once.
template <typename T, int queries, bool plain>
__global__ void __launch_bounds__(decode_threads) decode_kernel(DecodeArguments a, bool clustered) {
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ Inbox inbox;
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
  const FoundInbox found{&inbox, reinterpret_cast<float*>(memory + DecodeShared<T, queries>::bytes(width))};
  const bool by_cluster = clustered && active > 1;
  if (by_cluster) {
    found.begin(group, active, width);
  }
  let_next_begin();
  wait_for_kernels_before();
  const DecodeShared<T, queries> shared(memory, width);
  const bool has_new = group.split == active - 1;
  if constexpr (plain) {
    Chunk<T> own[queries];
#pragma unroll
    for (int n = 0; n < queries; ++n) {
      own[n] = n < group.count ? load(group.queries + n * width + share.part) : Chunk<T>{};
    }
    if (has_new) {
      past.take_new(group.key, group.value, group, share, position);
    }
    mix_past_by<T, queries, size>(past, group, share, position, width, shared,
                                  [&](int n, int i) { return to_float(own[n].values[i]); });
    if (has_new && group.part == 0) {
      past.keep_new(group, share, position, width);
    }
  } else {
    take_new_token(a, group, position, has_new, width, shared);
    if (has_new) {
      past.take_new(shared.key, shared.value, group, share, position);
    }
    mix_past<T, queries, size>(past, group, share, position, width, shared);
  }
  if (by_cluster) {
    write_mixed_by_cluster(a, group, active, width, shared, found);
  } else {
    write_mixed(a, group, active, width, shared);
  }
}

// What a block of a cluster may need.
constexpr int most_clustered_shared = 96 * 1024;

template <typename T, int queries, bool plain>
void launch_decode(DecodeArguments a, cudaStream_t stream) {
  const auto kernel = decode_kernel<T, queries, plain>;
  const int64_t each = a.heads.queries / a.heads.keys, parts = (each + queries - 1) / queries;
  const int64_t heads = a.batch * a.heads.keys * parts;
  const int64_t cluster = gain_by_clusters(heads, a.splits) && waits_by_itself(kernel) ? cluster_of(a.splits) : 1;
  size_t bytes = DecodeShared<T, queries>::bytes(a.heads.head_width);
  if (cluster > 1) {
    a.splits = cluster;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_clustered_shared);
    bytes += sizeof(float) * static_cast<size_t>(cluster * queries * sent_values(static_cast<int>(a.heads.head_width)));
  }
  const EarlyLaunch launch{dim3(static_cast<unsigned>(heads * a.splits)), decode_threads, bytes, stream,
                           static_cast<unsigned>(cluster)};
  launch_early(kernel, launch, a, cluster > 1);
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
      return takes_heads_as_they_are(a.heads) ? launch_decode<T, 1, true>(a, stream)
                                              : launch_decode<T, 1, false>(a, stream);
    case 2:
      return launch_decode<T, 2, false>(a, stream);
    default:
      return launch_decode<T, max_block_queries, false>(a, stream);
  }
}

}  // namespace

int64_t decode_splits(int64_t capacity, int64_t head_bytes) {
  const int64_t keys_each = keys_ahead * decode_threads * bytes_at_once / head_bytes;
  return (capacity + keys_each - 1) / keys_each;
}

void decode_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream) {
  if (!few_attention(precision, arguments, stream)) {
    with_type(precision, [&](auto type) { launch_decode<decltype(type)>(arguments, stream); });
  }
}

}  // namespace demask::kernels::cuda::launch
