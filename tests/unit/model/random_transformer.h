// Transformers of a few thousand random parameters, of any description.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/transformer.h"

namespace demask::testing {

struct NamedDescription {
  std::string name;
  TransformerDescription description;
  bool biases = true;           // of linear layers and LayerNorms
  bool head_bias = false;       // of the head
  bool normed_queries = false;  // queries and keys are normed head by head
};

// The field's mixtures, and some that no family has.
inline std::vector<NamedDescription> mixtures() {
  NamedDescription gpt;
  gpt.name = "gpt2";
  TransformerDescription& of = gpt.description;
  of.family = "test";
  of.layers = 2;
  of.heads = of.key_value_heads = 3;
  of.head_width = 8;
  of.width = 24;
  of.feed_forward_width = 96;
  of.block_size = 50;
  of.vocabulary_size = of.outputs = 71;
  of.activation = Activation::gelu_tanh;
  of.tied_head = true;

  NamedDescription llama = gpt;
  llama.name = "llama";
  llama.biases = false;
  llama.description.norm = NormKind::rms;
  llama.description.norm_epsilon = 1e-6;
  llama.description.activation = Activation::silu;
  llama.description.gated = true;
  llama.description.rotary = true;
  llama.description.rotary_base = 500000;
  llama.description.rotary_scaling = RotaryScaling{8, 1, 4, 32};
  llama.description.heads = 4;
  llama.description.key_value_heads = 2;
  llama.description.feed_forward_width = 40;
  llama.description.tied_head = false;

  NamedDescription qwen = llama;
  qwen.name = "qwen3";
  qwen.normed_queries = true;
  qwen.description.rotary_scaling.reset();
  qwen.description.heads = 6;
  qwen.description.key_value_heads = 1;
  qwen.description.head_width = 14;
  qwen.description.norm_epsilon = 1e-2;
  qwen.description.tied_head = true;

  NamedDescription dream = llama;
  dream.name = "dream";
  dream.biases = true;
  dream.description.bidirectional = true;
  dream.description.shifted = true;
  dream.description.feed_forward_width = 37;

  NamedDescription mdlm = gpt;
  mdlm.name = "mdlm";
  mdlm.head_bias = true;
  mdlm.description.bidirectional = true;
  mdlm.description.rotary = true;
  mdlm.description.tied_head = false;
  mdlm.description.outputs = 65;

  NamedDescription odd = gpt;
  odd.name = "absolute positions, silu, one head of keys";
  odd.description.activation = Activation::silu;
  odd.description.key_value_heads = 1;
  odd.description.heads = 5;
  odd.description.head_width = 6;
  odd.description.norm_epsilon = 1e-3;
  odd.description.feed_forward_width = 33;

  NamedDescription gated = dream;
  gated.name = "gated GELU";
  gated.description.shifted = false;
  gated.description.activation = Activation::gelu;
  gated.description.feed_forward_width = 32;
  NamedDescription gated_tanh = gated;
  gated_tanh.name = "gated GELU by tanh, causal";
  gated_tanh.description.activation = Activation::gelu_tanh;
  gated_tanh.description.bidirectional = false;
  return {gpt, llama, qwen, dream, mdlm, odd, gated, gated_tanh};
}

// The same weights each time, of a size at which every part moves the logits.
inline TransformerWeights random_weights(const NamedDescription& named, at::ScalarType dtype) {
  at::manual_seed(1337);
  const TransformerDescription& of = named.description;
  const auto random = [&](const std::vector<int64_t>& shape, double size) {
    return at::randn(shape, at::kDouble).mul(size).to(at::kBFloat16).to(dtype);  // the same numbers in each precision
  };
  const auto linear = [&](int64_t outputs, int64_t inner, bool bias) {
    return LinearWeights{random({outputs, inner}, 1.5 / std::sqrt(static_cast<double>(inner))),
                         bias ? random({outputs}, 0.5) : at::Tensor()};
  };
  const auto norm = [&](int64_t width) {
    const bool bias = named.biases && of.norm == NormKind::layer;
    return NormWeights{random({width}, 0.3).add_(1), bias ? random({width}, 0.3) : at::Tensor()};
  };
  TransformerWeights weights;
  weights.description = of;
  weights.token_embedding = random({of.vocabulary_size, of.width}, 1);
  if (!of.rotary) {
    weights.position_embedding = random({of.block_size, of.width}, 1);
  }
  for (int64_t number = 0; number < of.layers; ++number) {
    LayerWeights layer;
    layer.attention_norm = norm(of.width);
    layer.query_key_value = linear(of.query_key_value_width(), of.width, named.biases);
    if (named.normed_queries) {
      layer.query_norm = {random({of.head_width}, 0.3).add_(2), {}};
      layer.key_norm = {random({of.head_width}, 0.3).add_(2), {}};
    }
    layer.attention_projection = linear(of.width, of.heads * of.head_width, named.biases);
    layer.feed_forward_norm = norm(of.width);
    layer.expand = linear((of.gated ? 2 : 1) * of.feed_forward_width, of.width, named.biases);
    layer.contract = linear(of.width, of.feed_forward_width, named.biases);
    weights.layers.push_back(layer);
  }
  weights.final_norm = norm(of.width);
  weights.head =
      of.tied_head ? LinearWeights{weights.token_embedding, {}} : linear(of.outputs, of.width, named.head_bias);
  return weights;
}

inline TransformerWeights to_device(TransformerWeights weights, at::Device device) {
  const auto move = [&](at::Tensor& x) { x = x.defined() ? x.to(device) : x; };
  const auto move_linear = [&](LinearWeights& linear) {
    move(linear.weight);
    move(linear.bias);
  };
  const auto move_norm = [&](NormWeights& norm) {
    move(norm.weight);
    move(norm.bias);
  };
  move(weights.token_embedding);
  move(weights.position_embedding);
  for (LayerWeights& layer : weights.layers) {
    for (LinearWeights* linear :
         {&layer.query_key_value, &layer.attention_projection, &layer.expand, &layer.contract}) {
      move_linear(*linear);
    }
    for (NormWeights* norm : {&layer.attention_norm, &layer.query_norm, &layer.key_norm, &layer.feed_forward_norm}) {
      move_norm(*norm);
    }
  }
  move_norm(weights.final_norm);
  move_linear(weights.head);
  return weights;
}

}  // namespace demask::testing
