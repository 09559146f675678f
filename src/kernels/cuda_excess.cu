// Logits less what speaks against tokens that a text has more often than expected.
#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int excess_threads = 512, subtract_threads = 256;
constexpr int64_t most_counted_in_shared = 8192;  // tokens of a vocabulary

// A block a text. Tokens are counted in shared memory, or where a vocabulary is too large for that in the text's row of
// `penalty`, which then becomes what the counts mean.
template <bool in_shared>
__global__ void __launch_bounds__(excess_threads) excess_kernel(ExcessArguments a) {
  extern __shared__ float shared_counts[];
  wait_for_kernels_before();
  let_next_begin();
  const int64_t row = blockIdx.x;
  float* penalty = a.penalty + row * a.outputs;
  float* counts = in_shared ? shared_counts : penalty;
  const float* prior = a.prior + row * a.outputs;
  for (int64_t v = threadIdx.x; v < a.outputs; v += excess_threads) {
    counts[v] = 0;
  }
  __syncthreads();
  int visible = 0;
  for (int64_t start = 0; start < a.length; start += excess_threads) {
    const int64_t t = start + threadIdx.x;
    const bool is_counted = t < a.length && !a.masked[row * a.length + t];
    if (is_counted) {
      atomicAdd(counts + a.tokens[row * a.length + t], 1.0F);
    }
    visible += __syncthreads_count(is_counted);
  }
  for (int64_t v = threadIdx.x; v < a.outputs; v += excess_threads) {
    const float count = in_shared ? counts[v] : __ldcg(counts + v);  // atomics work past the first cache
    const float expected = prior[v] * static_cast<float>(visible);
    const float ratio = log1pf(count) - log1pf(expected);
    const float deviations = (count - expected) * rsqrtf(1 + expected) - a.usual_deviation;
    penalty[v] = a.by_count * fmaxf(ratio, 0.0F) + a.by_deviation * fmaxf(deviations, 0.0F);
  }
}

// A thread a chunk of the logits, which may begin and end anywhere in a position's. Rounded as tensor operations do:
// the penalty first.
template <typename T>
__global__ void __launch_bounds__(subtract_threads) subtract_kernel(ExcessArguments a, int64_t count) {
  constexpr int size = Chunk<T>::size;
  wait_for_kernels_before();
  let_next_begin();
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * subtract_threads + threadIdx.x) * size;
  if (first >= count) {
    return;
  }
  const T* from = static_cast<const T*>(a.logits) + first;
  T* to = static_cast<T*>(a.weighed) + first;
  int64_t position = first / a.outputs, text = position / a.length;
  int64_t v = first - position * a.outputs;
  position -= text * a.length;
  const auto less = [&](T logit) {
    const float penalty = to_float(from_float<T>(a.penalty[text * a.outputs + v]));
    if (++v == a.outputs) {
      v = 0;
      if (++position == a.length) {
        position = 0;
        ++text;
      }
    }
    return from_float<T>(to_float(logit) - penalty);
  };
  if (first + size <= count && starts_chunk(from) && starts_chunk(to)) {
    Chunk<T> chunk = load(from);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      chunk.values[i] = less(chunk.values[i]);
    }
    store(to, chunk);
    return;
  }
  for (int64_t i = 0; i < min(static_cast<int64_t>(size), count - first); ++i) {
    to[i] = less(from[i]);
  }
}

}  // namespace

void less_excess(Precision precision, const ExcessArguments& a, int64_t batch, cudaStream_t stream) {
  const dim3 texts(static_cast<unsigned>(batch));
  if (a.outputs <= most_counted_in_shared) {
    launch_early(excess_kernel<true>, texts, excess_threads, static_cast<size_t>(a.outputs) * sizeof(float), stream, a);
  } else {
    launch_early(excess_kernel<false>, texts, excess_threads, 0, stream, a);
  }
  const int64_t count = batch * a.length * a.outputs;
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const dim3 blocks(blocks_for(count, int64_t{subtract_threads} * Chunk<T>::size));
    launch_early(subtract_kernel<T>, blocks, subtract_threads, 0, stream, a, count);
  });
}

}  // namespace demask::kernels::cuda::launch
