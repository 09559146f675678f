// What a step knows of its tokens: their probability, margin and entropy, how stable they are, and what a trace keeps.
#include "kernels/cuda_softmax.cuh"
#include "kernels/reveal_rule.h"

namespace demask::kernels::cuda::launch {
namespace {

// The softmax of `count` stretches, `apart` from each other, by a warp. Whole ones lie within the row, which starts a
// chunk.
template <bool whole, int count, typename T>
__device__ void judge_stretches(const T* logits, int outputs, const Stretches& stretches, int stretch, int apart,
                                StretchSoftmax& found) {
  const int lane = threadIdx.x % warp_size;
  const bool aligned = whole || starts_chunk(logits);
  Softmax own[count];
  for (int start = 0; start < stretches.per_lane; start += Stretches::chunk) {
    LogitChunk<T> chunks[count];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int first = stretches.first(stretch + i * apart, lane) + start;
      if constexpr (whole) {
        chunks[i].read_whole(logits + first);
      } else {
        chunks[i].read(logits, first, outputs, aligned);
      }
    }
#pragma unroll
    for (int i = 0; i < count; ++i) {
      float values[Stretches::chunk];
      chunks[i].to(values);
      own[i].add(values);
    }
  }
  merge_lanes(own);
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if (lane == 0) {
      found.put(stretch + i * apart, own[i]);
    }
  }
}

// A row's softmax by a block, for the threads of its first warp; the others get something else.
template <typename T>
__device__ Softmax softmax_by_block(const T* logits, int outputs) {
  __shared__ StretchSoftmax found;
  constexpr int together = 4;  // stretches, whose loads and sums do not wait for each other
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  const Stretches stretches(outputs);
  int stretch = static_cast<int>(threadIdx.x) / warp_size;
  if (starts_chunk(logits)) {
    for (; (stretch + (together - 1) * warps + 1) * stretches.per_warp <= outputs; stretch += together * warps) {
      judge_stretches<true, together>(logits, outputs, stretches, stretch, warps, found);
    }
  }
  for (; stretch < stretches.count; stretch += warps) {
    judge_stretches<false, 1>(logits, outputs, stretches, stretch, warps, found);
  }
  __syncthreads();
  return threadIdx.x < warp_size ? found.merged(stretches.count) : Softmax{};
}

// Small: a warp a row. Otherwise a block a row.
template <typename T, bool small>
__global__ void judge_kernel(JudgeArguments a) {
  const int lane = threadIdx.x % warp_size;
  const int64_t row = small ? row_of_warp(blockDim.x / warp_size) : blockIdx.x;
  if (row >= a.logits.rows) {
    return;
  }
  const T* logits = row_of<T>(a.logits, row);
  const int outputs = static_cast<int>(a.logits.outputs);
  Softmax softmax;
  if constexpr (small) {
    softmax = softmax_of_row(logits, outputs, lane);
  } else {
    softmax = softmax_by_block(logits, outputs);
  }
  if (small ? lane == 0 : threadIdx.x == 0) {
    const float x = to_float(logits[a.tokens == nullptr ? a.column : a.tokens[row]]);
    const float out = judged(x, softmax, a.logarithm, a.broken);
    a.out[row] = out;
  }
}

// The row of logits that a warp of a small block takes.
template <typename T>
struct WarpRow {
  int lane;
  int64_t row;
  bool exists;
  const T* logits;
  int outputs;

  explicit __device__ WarpRow(const Logits& of)
      : lane(threadIdx.x % warp_size),
        row(row_of_warp(small_rows)),
        exists(row < of.rows),
        logits(row_of<T>(of, row)),
        outputs(static_cast<int>(of.outputs)) {}
};

// By EntropyRule, where there is a temperature.
__device__ float entropy_or_temperature(const MeasureArguments& a, int64_t row, float entropy) {
  if (a.temperatures == nullptr) {
    return entropy;
  }
  const int64_t text = row / a.rows_per_text;
  const float share = fminf(fmaxf(entropy / a.whole[text], 0.0F), 1.0F);
  const float temperature = a.temperatures[text] * (a.power == 1 ? share : powf(share, a.power));
  return fminf(fmaxf(temperature, a.least), a.most);
}

// One warp a row, two passes, the second out of the cache.
template <typename T>
__global__ void __launch_bounds__(small_threads) measure_kernel(MeasureArguments a) {
  const WarpRow<T> own(a.logits);
  if (!own.exists) {
    return;
  }
  float largest = -INFINITY, second = -INFINITY;
  bool nan = false;
  for (int id = own.lane; id < own.outputs; id += warp_size) {
    const float x = to_float(own.logits[id]);
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
    if (own.lane == 0) {
      a.entropy[own.row] = NAN;
      if (a.tokens != nullptr) {
        a.log_probability[own.row] = a.margin[own.row] = NAN;
      }
      report_if_broken(a.broken, NAN);
    }
    return;
  }
  float total = 0, moment = 0;
  for (int id = own.lane; id < own.outputs; id += warp_size) {
    const float below = to_float(own.logits[id]) - largest;
    if (below > -INFINITY) {
      const float weight = expf(below);
      total += weight;
      moment += weight * below;
    }
  }
  total = warp_sum(total);
  moment = warp_sum(moment);
  if (own.lane == 0) {
    const float log_total = logf(total);
    a.entropy[own.row] = entropy_or_temperature(a, own.row, log_total - moment / total);
    if (a.tokens != nullptr) {
      a.log_probability[own.row] = to_float(own.logits[a.tokens[own.row]]) - largest - log_total;
      a.margin[own.row] = (1 - expf(second - largest)) / total;
    }
  }
}

// The logits of a row and the log probabilities of the step before: all in registers, id = item * 32 + lane, or with no
// items read again in each pass.
template <typename T, int items>
struct RowAndPrevious {
  const T* logits;
  float* previous;
  int outputs;
  int lane;
  float x[items + 1], before[items + 1];

  __device__ void read() {
#pragma unroll
    for (int k = 0; k < items; ++k) {
      const int id = k * warp_size + lane;
      x[k] = id < outputs ? to_float(logits[id]) : -INFINITY;
      before[k] = id < outputs ? previous[id] : 0.0F;
    }
  }

  // Calls f(id, logit, log probability before) for this lane's ids.
  template <typename F>
  __device__ void for_each(F f) const {
    if constexpr (items > 0) {
#pragma unroll
      for (int k = 0; k < items; ++k) {
        if (k * warp_size + lane < outputs) {
          f(k * warp_size + lane, x[k], before[k]);
        }
      }
    } else {
      for (int id = lane; id < outputs; id += warp_size) {
        f(id, to_float(logits[id]), previous[id]);
      }
    }
  }
};

// One warp a row.
template <typename T, int items>
__global__ void __launch_bounds__(small_threads) stable_probability_kernel(StabilityArguments a) {
  const int lane = threadIdx.x % warp_size;
  const int64_t row = row_of_warp(small_rows);
  if (row >= a.logits.rows) {
    return;
  }
  const T* logits = row_of<T>(a.logits, row);
  RowAndPrevious<T, items> ids{logits, a.previous + row * a.logits.outputs, static_cast<int>(a.logits.outputs), lane};
  ids.read();
  float largest = -INFINITY;
  bool nan = false;
  ids.for_each([&](int, float value, float) {
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
  ids.for_each([&](int, float value, float) { total += expf(value - largest); });
  total = warp_sum(total);
  const float log_total = logf(total);
  float divergence = 0;
  ids.for_each([&](int id, float value, float then) {
    const float now = fmaxf(value - largest - log_total, lowest_log_probability);
    divergence += expf(now) * (now - then);
    ids.previous[id] = now;
  });
  divergence = warp_sum(divergence);
  if (lane == 0) {
    // Minus one becomes 0 whatever the divergence from nothing.
    const int64_t steady = divergence < a.divergence ? a.steady[row] + 1 : 0;
    a.steady[row] = steady;
    const float p = expf(to_float(logits[a.tokens[row]]) - largest) / total;
    a.certainty[row] = p + (steady >= a.history && p >= a.least_probability ? stable_above : 0.0F);
  }
}

// A candidate for the likeliest is its value's key above its id's complement, so that the largest one is the likeliest
// with the lowest id; each lane keeps its own best in order, and the best of all leave one by one.
struct Candidates {
  using Candidate = unsigned long long;
  static constexpr int kept = static_cast<int>(max_traced_likeliest);
  Candidate best[kept] = {};

  __device__ void add(int id, float value) {
    Candidate next = static_cast<Candidate>(ordered_key(value)) << 32 | ~static_cast<uint32_t>(id);
#pragma unroll
    for (int k = 0; k < kept; ++k) {
      const Candidate higher = next > best[k] ? next : best[k];
      next = next > best[k] ? best[k] : next;
      best[k] = higher;
    }
  }

  // The id of the best of all lanes, which leaves.
  __device__ uint32_t take() {
    Candidate winner = best[0];
    for (int offset = warp_size / 2; offset > 0; offset /= 2) {
      const Candidate other = __shfl_xor_sync(all_lanes, winner, offset);
      winner = other > winner ? other : winner;
    }
    if (best[0] == winner) {
#pragma unroll
      for (int k = 0; k + 1 < kept; ++k) {
        best[k] = best[k + 1];
      }
      best[kept - 1] = 0;
    }
    return ~static_cast<uint32_t>(winner);
  }
};

// One warp a row.
template <typename T>
__global__ void __launch_bounds__(small_threads) trace_kernel(TraceArguments a) {
  const WarpRow<T> own(a.logits);
  if (!own.exists) {
    return;
  }
  Candidates candidates;
  float largest = -INFINITY;
  for (int id = own.lane; id < own.outputs; id += warp_size) {
    const float x = to_float(own.logits[id]);
    largest = fmaxf(largest, x);
    candidates.add(id, x + a.forbidden[id]);
  }
  largest = warp_max(largest);
  float total = 0;
  for (int id = own.lane; id < own.outputs; id += warp_size) {
    total += expf(to_float(own.logits[id]) - largest);
  }
  total = warp_sum(total);
  const auto probability = [&](int64_t id) { return expf(to_float(own.logits[id]) - largest) / total; };
  const int64_t place = *a.slot * a.logits.rows + own.row;
  for (int64_t n = 0; n < a.likeliest_count; ++n) {
    const uint32_t id = candidates.take();
    if (own.lane == n) {
      a.likeliest[place * a.likeliest_count + n] = id;
      a.likeliest_probabilities[place * a.likeliest_count + n] = probability(id);
    }
  }
  if (own.lane == 0) {
    const int64_t token = a.tokens[own.row];
    a.confidence[place] = probability(token < own.outputs ? token : own.outputs - 1);
    if (a.traced_tokens != nullptr) {
      a.traced_tokens[place] = token;
    }
    if (a.traced_masked != nullptr) {
      a.traced_masked[place] = a.masked[own.row];
    }
  }
}

template <typename T>
void launch_judge(const JudgeArguments& a, cudaStream_t stream) {
  if (a.logits.outputs <= most_judged_by_warp) {
    judge_kernel<T, true><<<blocks_for(a.logits.rows, small_rows), small_threads, 0, stream>>>(a);
  } else {
    judge_kernel<T, false><<<static_cast<unsigned>(a.logits.rows), wide_threads, 0, stream>>>(a);
  }
}

template <typename T>
void launch_stable_probability(const StabilityArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.logits.rows, small_rows);
  const int64_t items = (a.logits.outputs + warp_size - 1) / warp_size;
  if (items <= 3) {
    stable_probability_kernel<T, 3><<<blocks, small_threads, 0, stream>>>(a);
  } else if (items <= 8) {
    stable_probability_kernel<T, 8><<<blocks, small_threads, 0, stream>>>(a);
  } else {
    stable_probability_kernel<T, 0><<<blocks, small_threads, 0, stream>>>(a);
  }
}

}  // namespace

void judge(Precision precision, const JudgeArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_judge<decltype(type)>(arguments, stream); });
}

void measure(Precision precision, const MeasureArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    measure_kernel<decltype(type)>
        <<<blocks_for(arguments.logits.rows, small_rows), small_threads, 0, stream>>>(arguments);
  });
}

void stable_probability(Precision precision, const StabilityArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_stable_probability<decltype(type)>(arguments, stream); });
}

void trace(Precision precision, const TraceArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    trace_kernel<decltype(type)>
        <<<blocks_for(arguments.logits.rows, small_rows), small_threads, 0, stream>>>(arguments);
  });
}

}  // namespace demask::kernels::cuda::launch
