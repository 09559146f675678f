#include "demask/sampling/noise.h"

#include <ATen/ATen.h>

#include <array>

#include "demask/core/philox.h"
#include "demask/kernels/kernels.h"

namespace demask {
namespace {

constexpr int64_t words_per_block = 4;

// Counter words: block of four positions, step, sample (low 32 bits), purpose above the sample's high 24 bits.
uint32_t last_word(int64_t sample_index, Purpose purpose) {
  return static_cast<uint32_t>(purpose) << 24 | (static_cast<uint32_t>(sample_index >> 32) & 0xFFFFFFU);
}

philox::Key key_of(uint64_t seed) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
}

philox::Counter block_at(uint64_t seed, int64_t sample_index, int64_t step, int64_t block, Purpose purpose) {
  return philox::generate({static_cast<uint32_t>(block), static_cast<uint32_t>(step),
                           static_cast<uint32_t>(sample_index), last_word(sample_index, purpose)},
                          key_of(seed));
}

at::Tensor uniform_on_host(uint64_t seed, const at::Tensor& sample_indices, const at::Tensor& step_tensor,
                           int64_t positions, Purpose purpose) {
  const int64_t step = step_tensor.item<int64_t>();
  const at::Tensor indices = sample_indices.contiguous();
  const int64_t batch = indices.size(0);
  at::Tensor out = at::empty({batch, positions}, at::kFloat);
  const int64_t* index = indices.data_ptr<int64_t>();
  float* row = out.data_ptr<float>();
  for (int64_t b = 0; b < batch; ++b, row += positions) {
    for (int64_t position = 0; position < positions; position += words_per_block) {
      const philox::Counter words = block_at(seed, index[b], step, position / words_per_block, purpose);
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

at::Tensor uniform_by_tensors(uint64_t seed, const at::Tensor& sample_indices, const at::Tensor& step,
                              int64_t positions, Purpose purpose) {
  const int64_t blocks = (positions + words_per_block - 1) / words_per_block;
  const int64_t batch = sample_indices.size(0);
  const at::Tensor sample = sample_indices.unsqueeze(1).expand({batch, blocks});
  std::array<at::Tensor, 4> counter = {
      at::arange(blocks, sample_indices.options()).unsqueeze(0).expand({batch, blocks}), step.expand({batch, blocks}),
      low_word(sample),
      sample.bitwise_right_shift(32).bitwise_and(int64_t{0xFFFFFF}).bitwise_or(static_cast<int64_t>(purpose) << 24)};
  philox::Key key = key_of(seed);
  for (int round = 0; round < philox::rounds; ++round) {
    const at::Tensor product_0 = counter[0] * static_cast<int64_t>(philox::multiplier_0);
    const at::Tensor product_1 = counter[2] * static_cast<int64_t>(philox::multiplier_1);
    counter = {
        high_word(product_1).bitwise_xor(counter[1]).bitwise_xor(static_cast<int64_t>(key[0])), low_word(product_1),
        high_word(product_0).bitwise_xor(counter[3]).bitwise_xor(static_cast<int64_t>(key[1])), low_word(product_0)};
    key = {key[0] + philox::weyl_0, key[1] + philox::weyl_1};
  }
  const at::Tensor words =
      at::stack({counter[0], counter[1], counter[2], counter[3]}, 2).flatten(1).slice(1, 0, positions);
  return (words.bitwise_right_shift(9).to(at::kFloat) + 0.5) * 0x1p-23;
}

at::Tensor uniform(uint64_t seed, const at::Tensor& sample_indices, const at::Tensor& step, int64_t positions,
                   Purpose purpose) {
  if (sample_indices.is_cpu()) {
    return uniform_on_host(seed, sample_indices, step, positions, purpose);
  }
  return kernels::available() ? kernels::uniform(seed, sample_indices, step, positions, static_cast<uint32_t>(purpose))
                              : uniform_by_tensors(seed, sample_indices, step, positions, purpose);
}

float uniform_at(uint64_t seed, int64_t sample_index, int64_t step, int64_t position, Purpose purpose) {
  const philox::Counter words = block_at(seed, sample_index, step, position / words_per_block, purpose);
  return philox::to_uniform(words[static_cast<size_t>(position % words_per_block)]);
}

}  // namespace demask
