// A transformer as TransformerDescription defines it, written from the papers in LibTorch's plain operations in
// float64: slow, and short enough to be checked by eye.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "checkpoint/transformer.h"

namespace demask::testing {

class ReferenceTransformer {
 public:
  explicit ReferenceTransformer(const TransformerWeights& weights) : weights_(weights), of_(weights.description) {}

  // Keys and values [K, T, D] of each layer, and the positions from `first` on that are not taken from them.
  struct Kept {
    std::vector<at::Tensor> keys, values;
    int64_t first = 0, count = 0;
  };

  // [T, V] of ids [T]. With `kept` every layer's keys and values outside of its positions are those kept, and then all
  // of this forward's are.
  at::Tensor logits(const std::vector<int64_t>& ids, Kept* kept = nullptr) const {
    const auto length = static_cast<int64_t>(ids.size());
    at::Tensor x = wide(weights_.token_embedding).index_select(0, at::tensor(ids, at::kLong));
    if (!of_.rotary) {
      x = x + wide(weights_.position_embedding).slice(0, 0, length);
    }
    for (size_t number = 0; number < weights_.layers.size(); ++number) {
      const LayerWeights& layer = weights_.layers[number];
      const at::Tensor heads =
          attend(layer, linear(layer.query_key_value, norm(layer.attention_norm, x)), kept, number);
      x = x + linear(layer.attention_projection, heads);
      x = x + feed_forward(layer, norm(layer.feed_forward_norm, x));
    }
    return linear(weights_.head, norm(weights_.final_norm, x));
  }

 private:
  static at::Tensor wide(const at::Tensor& tensor) { return tensor.to(at::kCPU, at::kDouble); }

  static at::Tensor linear(const LinearWeights& weights, const at::Tensor& x) {
    const at::Tensor product = x.matmul(wide(weights.weight).t());
    return weights.bias.defined() ? product + wide(weights.bias) : product;
  }

  // Over the last dimension.
  at::Tensor norm(const NormWeights& weights, const at::Tensor& x) const {
    const at::Tensor centred = of_.norm == NormKind::layer ? x - x.mean(-1, true) : x;
    const at::Tensor scaled = centred / (centred.square().mean(-1, true) + of_.norm_epsilon).sqrt();
    const at::Tensor weighted = scaled * wide(weights.weight);
    return weights.bias.defined() ? weighted + wide(weights.bias) : weighted;
  }

  at::Tensor activate(const at::Tensor& x) const {
    switch (of_.activation) {
      case Activation::gelu:
        return x * 0.5 * (1 + at::erf(x / std::sqrt(2.0)));
      case Activation::gelu_tanh:
        return x * 0.5 * (1 + at::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))));
      case Activation::silu:
        return x / (1 + at::exp(-x));
    }
    return {};
  }

  at::Tensor feed_forward(const LayerWeights& layer, const at::Tensor& x) const {
    const at::Tensor hidden = linear(layer.expand, x);
    if (!of_.gated) {
      return linear(layer.contract, activate(hidden));
    }
    const std::vector<at::Tensor> halves = hidden.chunk(2, -1);
    return linear(layer.contract, activate(halves[0]) * halves[1]);
  }

  // Radians a position, [D / 2]; of Llama 3.1's scaling as its paper's code interpolates it.
  at::Tensor frequencies() const {
    at::Tensor frequency =
        at::pow(of_.rotary_base, -at::arange(0, of_.head_width, 2, at::kDouble) / static_cast<double>(of_.head_width));
    if (const auto& scaling = of_.rotary_scaling) {
      auto* values = frequency.data_ptr<double>();
      for (int64_t i = 0; i < frequency.numel(); ++i) {
        const double turns = static_cast<double>(scaling->original_positions) * values[i] / (2 * M_PI);
        const double low = scaling->low_frequency_factor;
        const double high = scaling->high_frequency_factor;
        const double kept = std::min(1.0, std::max(0.0, (turns - low) / (high - low)));
        values[i] *= kept + (1 - kept) / scaling->factor;
      }
    }
    return frequency;
  }

  // [H, T, D]
  at::Tensor rotate(const at::Tensor& x) const {
    const at::Tensor angles = at::outer(at::arange(x.size(1), at::kDouble), frequencies());
    const at::Tensor cosines = at::cos(angles);
    const at::Tensor sines = at::sin(angles);
    const std::vector<at::Tensor> halves = x.chunk(2, -1);
    return at::cat({halves[0] * cosines - halves[1] * sines, halves[1] * cosines + halves[0] * sines}, -1);
  }

  // x [K, T, D] at the positions that are computed, else what is stored; that is stored then.
  static at::Tensor replace(const at::Tensor& x, std::vector<at::Tensor>& stored, const Kept& kept, size_t layer) {
    stored.resize(std::max(stored.size(), layer + 1));
    at::Tensor all = stored[layer].defined() ? stored[layer].clone() : at::zeros_like(x);
    all.narrow(1, kept.first, kept.count).copy_(x.narrow(1, kept.first, kept.count));
    return stored[layer] = all;
  }

  // [T, (H + 2K) * D] to [T, H * D]
  at::Tensor attend(const LayerWeights& layer, const at::Tensor& rows, Kept* kept, size_t number) const {
    const int64_t length = rows.size(0);
    const std::vector<at::Tensor> parts = rows.view({length, of_.heads + 2 * of_.key_value_heads, of_.head_width})
                                              .transpose(0, 1)
                                              .split_with_sizes({of_.heads, of_.key_value_heads, of_.key_value_heads});
    at::Tensor queries = parts[0];
    at::Tensor keys = parts[1];
    if (layer.query_norm.weight.defined()) {
      queries = norm(layer.query_norm, queries);
      keys = norm(layer.key_norm, keys);
    }
    if (of_.rotary) {
      queries = rotate(queries);
      keys = rotate(keys);
    }
    const int64_t shared = of_.heads / of_.key_value_heads;
    at::Tensor values = parts[2];
    if (kept != nullptr) {
      keys = replace(keys, kept->keys, *kept, number);
      values = replace(values, kept->values, *kept, number);
    }
    keys = keys.repeat_interleave(shared, 0);
    values = values.repeat_interleave(shared, 0);
    at::Tensor scores = queries.matmul(keys.transpose(1, 2)) / std::sqrt(static_cast<double>(of_.head_width));
    if (!of_.bidirectional) {
      scores = scores.masked_fill(at::ones({length, length}, at::kBool).triu(1), -INFINITY);
    }
    return scores.softmax(-1).matmul(values).transpose(0, 1).reshape({length, of_.heads * of_.head_width});
  }

  const TransformerWeights& weights_;
  const TransformerDescription& of_;
};

}  // namespace demask::testing
