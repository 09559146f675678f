#include "sampling/noise.h"

#include <ATen/ATen.h>

#include <array>

#include "core/philox.h"
#include "kernels/cuda.h"
#include "kernels/noise_words.h"

namespace demask {
namespace {

constexpr int64_t words_per_block = 4;

philox::Counter block_at(const Stream& stream, int64_t step, int64_t block, Purpose purpose) {
  return kernels::noise_words(stream.seed, stream.index, step, block, static_cast<uint32_t>(purpose));
}

at::Tensor uniform_on_host(const Streams& streams, const at::Tensor& steps, int64_t positions, Purpose purpose) {
  const at::Tensor seeds = streams.seeds.contiguous(), indices = streams.indices.contiguous();
  const int64_t batch = indices.size(0), *seed = seeds.data_ptr<int64_t>(), *index = indices.data_ptr<int64_t>();
  const at::Tensor each_step = steps.expand({batch}).contiguous();
  const int64_t* step = each_step.data_ptr<int64_t>();
  at::Tensor out = at::empty({batch, positions}, at::kFloat);
  float* row = out.data_ptr<float>();
  for (int64_t b = 0; b < batch; ++b, row += positions) {
    const Stream stream{static_cast<uint64_t>(seed[b]), index[b]};
    for (int64_t position = 0; position < positions; position += words_per_block) {
      const philox::Counter words = block_at(stream, step[b], position / words_per_block, purpose);
      for (int64_t w = 0; w < words_per_block && position + w < positions; ++w) {
        row[position + w] = philox::to_uniform(words[static_cast<size_t>(w)]);
      }
    }
  }
  return out;
}

// Low 32 bits of each int64 element, as a value in [0, 2^32).
at::Tensor low_word(const at::Tensor& words) {
  return words.bitwise_and(int64_t{0xFFFFFFFF});
}

// Bits 32 to 63. int64 products wrap as unsigned ones do, so the mask after the arithmetic shift gives the same bits.
at::Tensor high_word(const at::Tensor& words) {
  return low_word(words.bitwise_right_shift(32));
}

}  // namespace

Streams to_tensors(const std::vector<Stream>& streams) {
  const auto count = static_cast<int64_t>(streams.size());
  Streams tensors{at::empty({count}, at::kLong), at::empty({count}, at::kLong)};
  for (int64_t b = 0; b < count; ++b) {
    tensors.seeds.data_ptr<int64_t>()[b] = static_cast<int64_t>(streams[static_cast<size_t>(b)].seed);
    tensors.indices.data_ptr<int64_t>()[b] = streams[static_cast<size_t>(b)].index;
  }
  return tensors;
}

at::Tensor uniform_by_tensors(const Streams& streams, const at::Tensor& steps, int64_t positions, Purpose purpose) {
  const int64_t blocks = (positions + words_per_block - 1) / words_per_block;
  const int64_t batch = streams.indices.size(0);
  const at::Tensor sample = streams.indices.unsqueeze(1).expand({batch, blocks});
  std::array<at::Tensor, 4> counter = {
      at::arange(blocks, sample.options()).unsqueeze(0).expand({batch, blocks}),
      steps.unsqueeze(1).expand({batch, blocks}), low_word(sample),
      sample.bitwise_right_shift(32).bitwise_and(int64_t{0xFFFFFF}).bitwise_or(static_cast<int64_t>(purpose) << 24)};
  std::array<at::Tensor, 2> key = {low_word(streams.seeds).unsqueeze(1), high_word(streams.seeds).unsqueeze(1)};
  for (int round = 0; round < philox::rounds; ++round) {
    const at::Tensor product_0 = counter[0] * static_cast<int64_t>(philox::multiplier_0);
    const at::Tensor product_1 = counter[2] * static_cast<int64_t>(philox::multiplier_1);
    counter = {high_word(product_1).bitwise_xor(counter[1]).bitwise_xor(key[0]), low_word(product_1),
               high_word(product_0).bitwise_xor(counter[3]).bitwise_xor(key[1]), low_word(product_0)};
    key = {low_word(key[0] + static_cast<int64_t>(philox::weyl_0)),
           low_word(key[1] + static_cast<int64_t>(philox::weyl_1))};
  }
  const at::Tensor words =
      at::stack({counter[0], counter[1], counter[2], counter[3]}, 2).flatten(1).slice(1, 0, positions);
  return (words.bitwise_right_shift(9).to(at::kFloat) + 0.5) * 0x1p-23;
}

at::Tensor uniform(const Streams& streams, const at::Tensor& steps, int64_t positions, Purpose purpose) {
  if (streams.indices.is_cpu()) {
    return uniform_on_host(streams, steps, positions, purpose);
  }
  return kernels::cuda::built() ? kernels::cuda::uniform({streams.seeds, streams.indices}, steps, positions,
                                                         static_cast<uint32_t>(purpose))
                                : uniform_by_tensors(streams, steps, positions, purpose);
}

float uniform_at(const Stream& stream, int64_t step, int64_t position, Purpose purpose) {
  const philox::Counter words = block_at(stream, step, position / words_per_block, purpose);
  return philox::to_uniform(words[static_cast<size_t>(position % words_per_block)]);
}

}  // namespace demask
