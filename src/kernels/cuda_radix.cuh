// Radix selection by a block: the key at which a running total over all items, highest key first, exceeds a limit.
#pragma once

#include <type_traits>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// In shared memory. Adding floats there is a loop that fails where two lanes of a warp add to one place, and most keys
// share their first bits, so that lanes add to different copies.
template <typename Number>
struct Bins {
  static constexpr int copies = std::is_same_v<Number, float> ? 8 : 1;
  static constexpr int stride = 256 + (copies > 1 ? 1 : 0);  // the copies of a bin in different banks
  Number copied[copies * stride];
  int result;
  Number result_above;

  __device__ void clear(int thread, int threads) {
    for (int i = thread; i < copies * stride; i += threads) {
      copied[i] = 0;
    }
  }
  __device__ void add(int bin, Number amount) {
    atomicAdd(&copied[static_cast<int>(threadIdx.x) % copies * stride + bin], amount);
  }
  __device__ Number total(int bin) const {
    Number sum = copied[bin];
    for (int copy = 1; copy < copies; ++copy) {
      sum += copied[copy * stride + bin];
    }
    return sum;
  }
};

// Bins of eight bits of a key, for keys that agree above them; returns, the same in every thread, the highest bin at
// which the bins above it and itself together exceed `limit`. `above` gains those above it. Nothing exceeds: the lowest
// bin that is not empty.
template <typename Number>
__device__ int bin_reaching(Bins<Number>& bins, Number limit, Number* above) {
  __syncthreads();
  if (threadIdx.x < warp_size) {
    const int lane = threadIdx.x;  // lane 0 holds the highest eight bins
    Number own = 0;
    for (int i = 0; i < 8; ++i) {
      own += bins.total(255 - lane * 8 - i);
    }
    const Number through = warp_scan(own, lane);
    const unsigned crossing = __ballot_sync(all_lanes, *above + through > limit);
    const unsigned filled = __ballot_sync(all_lanes, own > 0);
    const int owner = crossing != 0 ? __ffs(static_cast<int>(crossing)) - 1
                      : filled != 0 ? warp_size - 1 - __clz(static_cast<int>(filled))
                                    : 0;
    if (lane == owner) {
      Number running = *above + through - own;
      int last_filled = 255 - lane * 8;
      Number last_above = running;
      int found = -1;
      for (int i = 0; i < 8; ++i) {
        const int bin = 255 - lane * 8 - i;
        const Number total = bins.total(bin);
        if (total > 0) {
          last_filled = bin;
          last_above = running;
          if (running + total > limit) {
            found = bin;
            break;
          }
        }
        running += total;
      }
      bins.result = found < 0 ? last_filled : found;
      bins.result_above = last_above;
    }
  }
  __syncthreads();
  *above = bins.result_above;
  return bins.result;
}

// The highest key at which the amounts of the keys above it and its own together exceed `limit`, the same in every
// thread; nothing exceeds: the lowest key. `above`: the amounts of the keys above it. visit(add) calls add(key, amount)
// for each of this thread's items.
template <typename Number, typename Visit>
__device__ uint32_t key_reaching(Bins<Number>& bins, Number limit, Number* above, Visit visit) {
  uint32_t key = 0;
  *above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bins.clear(static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
    __syncthreads();
    visit([&](uint32_t k, Number amount) {
      if (shift == 24 || (k ^ key) >> (shift + 8) == 0) {
        bins.add(static_cast<int>(k >> shift & 255), amount);
      }
    });
    key |= static_cast<uint32_t>(bin_reaching(bins, limit, above)) << shift;
  }
  return key;
}

}  // namespace demask::kernels::cuda::launch
