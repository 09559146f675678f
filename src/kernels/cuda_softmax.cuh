// The softmax of a row of logits, and what it says of a token.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// Softmax's denominator, taken on the fly (Milakov and Gimelshein 2018).
struct Softmax {
  float largest = -INFINITY;
  float total = 0;  // of exp(x - largest)
  bool nan = false;

  __device__ void add(float x) {
    const float one[1] = {x};
    add(one);
  }

  // Several at once, whose exponentials do not wait for each other.
  template <int size>
  __device__ void add(const float (&x)[size]) {
    float most = largest;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      nan = nan || isnan(x[i]) || x[i] == INFINITY;
      most = fmaxf(most, x[i]);
    }
    if (most > -INFINITY) {
      total *= expf(largest - most);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        total += expf(x[i] - most);
      }
      largest = most;
    }
  }
};

inline __device__ Softmax merge_lanes(const Softmax& own) {
  Softmax merged;
  merged.nan = __any_sync(all_lanes, own.nan);
  merged.largest = warp_max(own.largest);
  merged.total = warp_sum(own.largest > -INFINITY ? own.total * expf(own.largest - merged.largest) : 0.0F);
  return merged;
}

// Of a row of at most so many logits, one warp's work.
inline constexpr int64_t most_judged_by_warp = 1024;
template <typename T>
__device__ Softmax softmax_of_row(const T* logits, int outputs, int lane) {
  Softmax own;
  for (int id = lane; id < outputs; id += warp_size) {
    own.add(to_float(logits[id]));
  }
  return merge_lanes(own);
}

// The probability of logit x, or its logarithm.
inline __device__ float judged(float x, const Softmax& softmax, bool logarithm, bool* broken) {
  float out = logarithm ? x - softmax.largest - logf(softmax.total) : expf(x - softmax.largest) / softmax.total;
  if (softmax.nan || softmax.largest == -INFINITY) {
    out = NAN;
  }
  // The logarithm of a true zero is the model's right.
  if (!(logarithm && out == -INFINITY)) {
    report_if_broken(broken, out);
  }
  return out;
}

}  // namespace demask::kernels::cuda::launch
