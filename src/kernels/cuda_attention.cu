// Attention of one new token a sequence to its own past, which also takes the token's key and value into the cache.
// The past is split among blocks, each of which asks for all its keys and values at once, before the queries are even
// there; the last block of a head to end merges what all of them found.
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
