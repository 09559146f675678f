// How much speaks against each token of a text: what kernels/doubt.h says, in one kernel.
#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int doubt_threads = 256;

__device__ float gumbel(float uniform) {
  return -logf(-logf(uniform));
}

// As tensor operations do it.
__device__ float blend(float from, float to, float share) {
  return share < 0.5F ? from + share * (to - from) : to - (to - from) * (1 - share);
}

// A thread a position, which looks to both ends of its word: words have few tokens.
__global__ void __launch_bounds__(doubt_threads) doubt_kernel(DoubtArguments a) {
  wait_for_kernels_before();
  let_next_begin();
  const int64_t b = blockIdx.x, row = b * a.length, t = static_cast<int64_t>(blockIdx.y) * doubt_threads + threadIdx.x;
  if (t >= a.length) {
    return;
  }
  if (a.waiting != nullptr && a.waiting[row + t]) {
    a.doubt[row + t] = a.last_masked;
    return;
  }
  const int64_t* tokens = a.tokens + row;
  const auto surprise = [&](int64_t at) {
    const float plain = -a.log_probability[row + at];
    return a.weight == nullptr ? plain : plain * a.weight[b * a.outputs + tokens[at]];
  };
  const auto shown = [&](int64_t at) { return a.eligible[row + at] && (a.waiting == nullptr || !a.waiting[row + at]); };
  const auto joined = [&](int64_t at) {  // to the position before it
    return a.begins_within[tokens[at]] && a.ends_within[tokens[at - 1]] && shown(at) && shown(at - 1);
  };
  const float own = surprise(t), uniform = a.choice_temperature == 0 ? 0.5F : a.noise[row + t];
  float highest = own, lowest = uniform;
  const auto meet = [&](int64_t at) {
    highest = fmaxf(highest, surprise(at));
    if (a.noise_share != 0) {
      lowest = fminf(lowest, a.noise[row + at]);
    }
  };
  if (a.begins_within != nullptr) {
    int64_t first = t, end = t + 1;
    for (; end - first <= a.longest_word && first > 0 && joined(first); --first) {
      meet(first - 1);
    }
    for (; end - first <= a.longest_word && end < a.length && joined(end); ++end) {
      meet(end);
    }
    if (end - first > a.longest_word) {
      highest = own;
      lowest = uniform;
    }
  }
  float doubt = a.word_share == 0 ? own : blend(own, highest, a.word_share);
  if (a.drawn[row + t]) {
    doubt -= a.new_token_bonus;
  }
  if (a.choice_temperature != 0) {
    const float of_own = gumbel(uniform);
    const float noise = a.noise_share == 0 ? of_own : blend(of_own, gumbel(lowest), a.noise_share);
    const float scale = a.noise_scale[b * a.noise_scale_stride];
    const float whole = a.vocabulary_noise == nullptr ? scale : hypotf(scale, a.vocabulary_noise[b]);
    doubt -= a.choice_temperature * (noise * (whole * a.noise_left[b * a.noise_left_stride]));
  }
  a.doubt[row + t] = doubt;
}

}  // namespace

void doubt(const DoubtArguments& arguments, int64_t batch, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(batch), static_cast<unsigned>(blocks_for(arguments.length, doubt_threads)));
  launch_early(doubt_kernel, blocks, doubt_threads, 0, stream, arguments);
}

}  // namespace demask::kernels::cuda::launch
