// All that follows the logits of a decoded token with a large vocabulary: a text is the work of a cluster of blocks,
// which share its stretches of ids and tell each other what they found. The tokens and numbers have the bits of
// uniform, draw and judge, whose sums are cut in the same way.
#include "kernels/cuda_draw_cluster.cuh"
#include "kernels/cuda_draw_next.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/noise_words.h"

namespace demask::kernels::cuda::launch {
namespace {

// What the first block of a cluster does once all have told it what they found.
template <typename T>
__device__ void keep_drawn(const NextDrawArguments& a, ClusterRow<T>& row, uint32_t kept, bool fine, int64_t position) {
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  int id = 0;
  if (warp == 0 && fine) {
    id = row.draw(kept);
  } else if (warp == 1) {
    row.merge_softmax();
  }
  __syncthreads();
  if (threadIdx.x != 0) {
    return;
  }
  if (!fine) {
    report_if_broken(a.draw.broken, NAN);
  }
  a.text[row.index() * a.text_stride + position] = id;
  a.scores[position * a.draw.logits.rows + row.index()] = row.score(id);
}

template <typename T>
__global__ void __launch_bounds__(draw_threads) draw_next_wide_kernel(NextDrawArguments a) {
  extern __shared__ __align__(16) unsigned char room[];
  __shared__ DrawShared shared;
  ClusterRow<T> row(a, reinterpret_cast<float*>(room), shared);
  row.ask_for_forbidden();
  arrive_at_cluster_relaxed();
  let_next_begin();
  wait_for_cluster();  // all blocks have begun
  wait_for_kernels_before();
  const int64_t position = *a.position + 1, step = *a.steps;
  if (row.rank() == 0 && threadIdx.x == draw_threads - 1) {
    shared.uniform = philox::to_uniform(noise_words(static_cast<uint64_t>(a.seeds[row.index()]),
                                                    a.sample_indices[row.index()], step, /*block=*/0, a.purpose)[0]);
  }
  const bool fine = row.read();
  uint32_t kept = 0;
  if (fine) {
    kept = row.find_kept();
    row.tell_weights(kept);
  }
  meet_cluster();
  if (row.rank() == 0) {
    keep_drawn(a, row, kept, fine, position);
    if (a.draw.logits.rows == 1 && threadIdx.x == 0) {  // else other texts may not have read them yet
      *a.position = position;
      *a.steps = step + 1;
    }
  }
  arrive_at_cluster_relaxed();
  wait_for_cluster();  // until then the first block reads what the others keep
}

// Once the clusters of several texts have read the counts.
__global__ void count_step_kernel(int64_t* position, int64_t* steps) {
  let_next_begin();
  wait_for_kernels_before();
  ++*position;
  ++*steps;
}

template <typename T>
bool launch_draw_next(const NextDrawArguments& a, cudaStream_t stream) {
  const auto kernel = draw_next_wide_kernel<T>;
  const Stretches stretches(static_cast<int>(a.draw.logits.outputs));
  if (!waits_by_itself(kernel) || stretches.count > most_stretches || stretches.per_lane != Stretches::chunk) {
    return false;
  }
  const int each = (stretches.count + cluster_blocks - 1) / cluster_blocks;
  const EarlyLaunch launch{dim3(static_cast<unsigned>(cluster_blocks * a.draw.logits.rows)), draw_threads,
                           static_cast<size_t>(each * stretches.per_warp) * sizeof(float), stream, cluster_blocks};
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(launch.shared_bytes)) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  launch_early(kernel, launch, a);
  if (a.draw.logits.rows > 1) {
    launch_early(count_step_kernel, dim3(1), 1, 0, stream, a.position, a.steps);
  }
  return true;
}

}  // namespace

bool draw_next_wide(Precision precision, const NextDrawArguments& arguments, cudaStream_t stream) {
  constexpr int64_t fewest_outputs = 4096;  // a block has fewer in no time
  const DrawArguments& draw = arguments.draw;
  if (draw.logits.outputs < fewest_outputs || draw.logits.rows * cluster_blocks > multiprocessors() || draw.top_p < 1) {
    return false;
  }
  bool taken = false;
  with_type(precision, [&](auto type) { taken = launch_draw_next<decltype(type)>(arguments, stream); });
  return taken;
}

}  // namespace demask::kernels::cuda::launch
