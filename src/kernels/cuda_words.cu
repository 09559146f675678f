// What all pieces of a word share.
#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int word_threads = 256;

// A thread a position, which looks to both ends of its word: words have few pieces.
__global__ void __launch_bounds__(word_threads) highest_of_word_kernel(WordArguments a) {
  const int64_t row = blockIdx.x * a.length, t = static_cast<int64_t>(blockIdx.y) * word_threads + threadIdx.x;
  if (t >= a.length) {
    return;
  }
  const int64_t* tokens = a.tokens + row;
  const bool* counted = a.counted + row;
  const float* scores = a.scores + row;
  const auto joined = [&](int64_t at) {  // to the position before it
    return counted[at] && counted[at - 1] && a.begins_within[tokens[at]] && a.ends_within[tokens[at - 1]];
  };
  float highest = scores[t];
  for (int64_t at = t; at > 0 && joined(at); --at) {
    highest = fmaxf(highest, scores[at - 1]);
  }
  for (int64_t at = t + 1; at < a.length && joined(at); ++at) {
    highest = fmaxf(highest, scores[at]);
  }
  a.highest[row + t] = highest;
}

}  // namespace

void highest_of_word(const WordArguments& arguments, int64_t batch, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((arguments.length + word_threads - 1) / word_threads);
  highest_of_word_kernel<<<dim3(static_cast<unsigned>(batch), blocks), word_threads, 0, stream>>>(arguments);
}

}  // namespace demask::kernels::cuda::launch
