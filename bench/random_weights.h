// Weights of any transformer, drawn at random where they are to lie, so that a large one never exists twice.
#pragma once

#include <ATen/ATen.h>

#include <cmath>

#include "checkpoint/transformer.h"

namespace demask {

enum class RandomBiases { none, query_key_value, all };

struct RandomParts {
  RandomBiases biases = RandomBiases::none;  // norms, but for RMSNorms, have some where all have
  bool head_norms = false;                   // of queries and keys
};

// In the dtype and on the device of `options`. A product's result is about as large as its input, whatever its width.
inline TransformerWeights random_weights(const TransformerDescription& of, const RandomParts& parts,
                                         const at::TensorOptions& options) {
  const auto numbers = [&](at::IntArrayRef shape, double deviation) {
    return at::randn(shape, options).mul_(deviation);
  };
  const auto linear = [&](int64_t outputs, int64_t inner, bool bias) {
    return LinearWeights{numbers({outputs, inner}, 1 / std::sqrt(static_cast<double>(inner))),
                         bias ? numbers({outputs}, 0.1) : at::Tensor()};
  };
  const bool biased = parts.biases == RandomBiases::all;
  const auto norm = [&](int64_t width) {
    return NormWeights{numbers({width}, 0.1).add_(1),
                       biased && of.norm == NormKind::layer ? numbers({width}, 0.1) : at::Tensor()};
  };
  const auto head_norm = [&] {
    return parts.head_norms ? NormWeights{numbers({of.head_width}, 0.1).add_(1), {}} : NormWeights{};
  };
  TransformerWeights weights;
  weights.description = of;
  weights.token_embedding = numbers({of.vocabulary_size, of.width}, 1);
  if (!of.rotary) {
    weights.position_embedding = numbers({of.block_size, of.width}, 1);
  }
  for (int64_t layer = 0; layer < of.layers; ++layer) {
    LayerWeights own;
    own.attention_norm = norm(of.width);
    own.query_key_value = linear(of.query_key_value_width(), of.width, parts.biases != RandomBiases::none);
    own.query_norm = head_norm();
    own.key_norm = head_norm();
    own.attention_projection = linear(of.width, of.heads * of.head_width, biased);
    own.feed_forward_norm = norm(of.width);
    own.expand = linear((of.gated ? 2 : 1) * of.feed_forward_width, of.width, biased);
    own.contract = linear(of.width, of.feed_forward_width, biased);
    weights.layers.push_back(own);
  }
  weights.final_norm = norm(of.width);
  weights.head = of.tied_head ? LinearWeights{weights.token_embedding, {}} : linear(of.outputs, of.width, biased);
  return weights;
}

}  // namespace demask
