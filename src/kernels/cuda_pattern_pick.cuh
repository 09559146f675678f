// Tokens of texts of few outputs, a thread each, once their paths are known.
#pragma once

#include "kernels/cuda_early.cuh"
#include "kernels/cuda_pattern_team.cuh"
#include "kernels/pattern_sums.h"

namespace demask::kernels::cuda::launch {

inline constexpr int summed_threads = 2 * warp_size;

// A logit as a model of this type gives it.
template <typename T>
struct Reader {
  const PatternArguments& a;
  __device__ float operator()(int64_t row, int64_t id) const {
    return to_float(static_cast<const T*>(a.logits)[row * a.row_stride + id]);
  }
};

// False where the text has no pattern.
inline __device__ bool find_table(const PatternArguments& a, int64_t b, PatternTable& table) {
  const int64_t at = a.table_at[b];
  if (at >= 0) {
    table = pattern_table(a.tables + at, a.outputs);
  }
  return at >= 0;
}

// By the sums of few outputs, a thread a row. Texts that scaled messages do not hold have none: each of their rows
// takes its warp. The table is read while the kernels before still work.
template <typename T>
__global__ void __launch_bounds__(summed_threads, 1) pick_summed_kernel(PatternArguments a) {
  let_next_begin();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * summed_threads + threadIdx.x;
  const bool exists = row < a.batch * a.length;
  const int64_t b = exists ? text_of(a, row) : 0;
  PatternTable table;
  const bool has_pattern = exists && find_table(a, b, table);
  wait_for_kernels_before();
  const bool scaled = has_pattern && a.numbers[b] == PatternNumbers::scaled;
  if (scaled) {
    pick_summed(a, table, Reader<T>{a}, row);
  }
  Warp warp;
  for (unsigned left = __ballot_sync(all_lanes, has_pattern && !scaled); left != 0; left &= left - 1) {
    const int64_t own = row - warp.rank() + __ffs(static_cast<int>(left)) - 1;
    find_table(a, text_of(a, own), table);
    pick_token(a, table, Reader<T>{a}, own, warp);
  }
}

}  // namespace demask::kernels::cuda::launch
