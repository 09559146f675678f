// The softmax of a row of logits, and what it says of a token.
#pragma once

#include "kernels/cuda_stretches.cuh"

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

// Makes each of several the lanes' together; their exchanges do not wait for each other.
template <int count>
__device__ void merge_lanes(Softmax (&own)[count]) {
  float largest[count];
#pragma unroll
  for (int i = 0; i < count; ++i) {
    own[i].nan = __any_sync(all_lanes, own[i].nan);
    largest[i] = own[i].largest;
  }
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      largest[i] = fmaxf(largest[i], __shfl_xor_sync(all_lanes, largest[i], offset));
    }
  }
#pragma unroll
  for (int i = 0; i < count; ++i) {
    own[i].total = own[i].largest > -INFINITY ? own[i].total * expf(own[i].largest - largest[i]) : 0.0F;
    own[i].largest = largest[i];
  }
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      own[i].total += __shfl_xor_sync(all_lanes, own[i].total, offset);
    }
  }
}
inline __device__ Softmax merge_lanes(const Softmax& own) {
  Softmax one[1] = {own};
  merge_lanes(one);
  return one[0];
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

// The softmax of each stretch of a row, in shared memory: what a larger row's is merged from.
struct StretchSoftmax {
  float largest[Stretches::most], totals[Stretches::most];

  __device__ void put(int stretch, const Softmax& of) {
    largest[stretch] = of.nan ? INFINITY : of.largest;
    totals[stretch] = of.total;
  }
  // Of `count` stretches; one warp, with the same result in every lane.
  __device__ Softmax merged(int count) const {
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    Softmax all;
#pragma unroll 2
    for (int stretch = lane; stretch < count; stretch += warp_size) {
      all.largest = fmaxf(all.largest, largest[stretch]);
    }
    all.largest = warp_max(all.largest);
    all.nan = all.largest == INFINITY;
#pragma unroll 2
    for (int stretch = lane; stretch < count; stretch += warp_size) {
      if (largest[stretch] > -INFINITY) {
        all.total += totals[stretch] * expf(largest[stretch] - all.largest);
      }
    }
    all.total = warp_sum(all.total);
    return all;
  }
};

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
