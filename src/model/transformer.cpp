#include "model/transformer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "checkpoint/stored_tensors.h"
#include "core/error.h"
#include "model/attention.h"

namespace demask {
namespace {

// Whether the CUDA kernels can read all that they read of every model, which is everything but the products' weights.
bool kernels_can_read(const TransformerWeights& weights) {
  std::vector<at::Tensor> read = {weights.token_embedding, weights.position_embedding, weights.final_norm.weight,
                                  weights.final_norm.bias};
  for (const LayerWeights& layer : weights.layers) {
    for (const NormWeights* norm :
         {&layer.attention_norm, &layer.query_norm, &layer.key_norm, &layer.feed_forward_norm}) {
      read.insert(read.end(), {norm->weight, norm->bias});
    }
    for (const LinearWeights* linear : {&layer.attention_projection, &layer.expand, &layer.contract}) {
      read.push_back(linear->bias);
    }
  }
  return std::all_of(read.begin(), read.end(), kernels::cuda::can_read);
}

// Whether each layer's products of many rows rotate queries and keys before they write them.
bool products_rotate(const TransformerWeights& weights) {
  return kernels::cuda::tile_product_rotates(weights.description.head_width) &&
         std::all_of(weights.layers.begin(), weights.layers.end(), [](const LayerWeights& layer) {
           return !layer.query_norm.weight.defined() && !layer.key_norm.weight.defined() &&
                  kernels::cuda::has_tile_products_for(layer.query_key_value.weight);
         });
}

// Whether products of a few rows take all weights.
bool row_products_suit(const std::vector<LayerWeights>& layers, const LinearWeights& head) {
  std::vector<at::Tensor> read = {head.weight};
  for (const LayerWeights& layer : layers) {
    read.insert(read.end(), {layer.query_key_value.weight, layer.attention_projection.weight, layer.expand.weight,
                             layer.contract.weight});
  }
  return std::all_of(read.begin(), read.end(), [](const at::Tensor& weight) {
    return kernels::cuda::can_read(weight) && kernels::cuda::has_row_products_for(weight.size(1), weight);
  });
}

}  // namespace

KernelChoice kernels_for(at::ScalarType dtype) {
  return dtype == at::kChar ? KernelChoice::int8 : KernelChoice::own;
}

at::TensorOptions options_of_weights(at::ScalarType dtype, at::Device device) {
  const at::TensorOptions as_stored = at::TensorOptions().device(device);
  return dtype == at::kChar ? as_stored : as_stored.dtype(dtype);
}

Transformer::Transformer(TransformerWeights weights, const std::string& form, KernelChoice kernels)
    : Transformer(*make_weight_source(std::move(weights)), form, kernels) {}

Transformer::Transformer(WeightSource& source, const std::string& form, KernelChoice kernels, int64_t forwards)
    : device_(source.options().device()) {
  prefer_fast_products();
  const TransformerDescription& of = source.description();
  info_ = info_of(of, source.dataset());
  info_.description = form + info_.description;
  const at::ScalarType dtype =
      kernels == KernelChoice::int8 ? at::kChar : c10::typeMetaToScalarType(source.options().dtype());
  info_.dtype = element_type(dtype);
  if (kernels != KernelChoice::libtorch) {
    on_cpu_ = TransformerOnCpu::make(source, dtype, forwards);
  }
  if (on_cpu_) {
    weights_.description = of;
    return;
  }
  if (kernels == KernelChoice::int8) {
    fail(ExitCode::bad_usage,
         "dtype='int8': its kernels are the CPU's, for models of one layer or more and even widths. Use "
         "--dtype=float32.");
  }
  weights_ = read_all(source);
  fused_ = kernels == KernelChoice::own &&
           kernels::cuda::has_kernels_for_widths(weights_.token_embedding,
                                                 {of.width, of.feed_forward_width, of.head_width}) &&
           kernels_can_read(weights_);
  if (of.rotary) {
    const auto [cosine, sine] = rotary_angles(of);
    const at::TensorOptions own = weights_.token_embedding.options();
    const at::TensorOptions options = fused_ ? own.dtype(at::kFloat) : own;
    cosine_ = cosine.to(options);
    sine_ = sine.to(options);
    if (fused_ && products_rotate(weights_)) {
      angles_ = at::stack({cosine, sine}, -1).to(options);
    }
  }
  head_ = {pad_rows(weights_.head.weight), pad_rows(weights_.head.bias)};
  row_products_ = fused_ && row_products_suit(weights_.layers, head_);
  judges_ = fused_ && !head_.bias.defined() && kernels::cuda::has_judged_product_for(head_.weight);
}

kernels::Norm Transformer::own_norm(const NormWeights& weights) const {
  const TransformerDescription& of = weights_.description;
  return {weights.weight, weights.bias, of.norm_epsilon, of.norm};
}

kernels::Heads Transformer::own_heads(size_t layer, const at::Tensor& cosine, const at::Tensor& sine) const {
  const TransformerDescription& of = weights_.description;
  const LayerWeights& weights = weights_.layers[layer];
  return {of.heads, of.key_value_heads, weights.query_norm.weight, weights.key_norm.weight, of.norm_epsilon, cosine,
          sine};
}

// x [..., in] -> [..., out], bias [out] or undefined.
at::Tensor Transformer::multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
  if (fused_ && kernels::cuda::plain_tile_product_is_faster(weight)) {
    return kernels::cuda::tile_product(x, {weight, bias});
  }
  return fused_ && batch_invariant_ && kernels::cuda::has_products_for(weight) ? kernels::cuda::product(x, weight, bias)
                                                                               : linear(x, weight, bias);
}

at::Tensor Transformer::norm(const at::Tensor& x, const NormWeights& weights) const {
  const TransformerDescription& of = weights_.description;
  return of.norm == NormKind::rms
             ? rms_norm(x, weights.weight, of.norm_epsilon)
             : at::layer_norm(x, weights.weight.sizes(), weights.weight, weights.bias, of.norm_epsilon);
}

at::Tensor Transformer::Cache::keep(const at::Tensor& x, const at::Tensor& stored) const {
  if (positions.defined()) {
    at::Tensor all = stored;
    return all.index_copy_(2, positions, x);
  }
  stored.narrow(2, length, x.size(2)).copy_(x);
  return length == 0 ? x : stored.narrow(2, 0, length + x.size(2));
}

// normed [B, T, C] -> [B, T, (H + 2K) * D]; where demask's own kernels run, queries and keys are normed and rotated.
at::Tensor Transformer::query_key_value(const at::Tensor& normed, size_t layer, const Places& places) const {
  const TransformerDescription& of = weights_.description;
  const LayerWeights& weights = weights_.layers[layer];
  const LinearWeights& product = weights.query_key_value;
  if (places.angles.defined()) {
    return kernels::cuda::tile_product(
        normed, {product.weight, product.bias, {}, places.angles, of.heads + of.key_value_heads, of.head_width});
  }
  const at::Tensor qkv = multiply(normed, product.weight, product.bias);
  if (fused_ && (of.rotary || weights.query_norm.weight.defined() || weights.key_norm.weight.defined())) {
    kernels::cuda::prepare_heads(qkv, own_heads(layer, places.cosine, places.sine), /*first_position=*/0);
  }
  return qkv;
}

// normed [B, T, C] -> [B, T, H * D]
at::Tensor Transformer::attention(const at::Tensor& normed, size_t layer, const Places& places,
                                  const Cache* cache) const {
  const TransformerDescription& of = weights_.description;
  const LayerWeights& weights = weights_.layers[layer];
  if (fused_ && of.bidirectional && cache != nullptr && cache->positions.defined() && !places.angles.defined()) {
    const kernels::Heads heads = own_heads(layer, cosine_, sine_);
    if (kernels::cuda::has_window_attention_for(heads, cache->keys[layer], normed.size(1))) {
      const LinearWeights& product = weights.query_key_value;
      return kernels::cuda::window_attention(multiply(normed, product.weight, product.bias), heads, cache->keys[layer],
                                             cache->values[layer], cache->positions);
    }
  }
  const at::Tensor qkv = query_key_value(normed, layer, places);
  const int64_t batch = qkv.size(0), length = qkv.size(1);
  int64_t column = 0;
  const auto next = [&](int64_t heads) {  // [B, T, heads * D] -> [B, T, heads, D]
    const at::Tensor part = qkv.narrow(2, column, heads * of.head_width).view({batch, length, heads, of.head_width});
    column += heads * of.head_width;
    return part;
  };
  const auto prepared = [&](const at::Tensor& heads, const NormWeights& norm) {  // [B, heads, T, D]
    const at::Tensor own = !fused_ && norm.weight.defined() ? rms_norm(heads, norm.weight, of.norm_epsilon) : heads;
    return !fused_ && of.rotary ? rotate(own.transpose(1, 2), places.cosine, places.sine) : own.transpose(1, 2);
  };
  const at::Tensor queries = prepared(next(of.heads), weights.query_norm);
  at::Tensor keys = prepared(next(of.key_value_heads), weights.key_norm);
  at::Tensor values = next(of.key_value_heads).transpose(1, 2);
  if (cache != nullptr) {
    keys = cache->keep(keys, cache->keys[layer]);
    values = cache->keep(values, cache->values[layer]);
  }
  const bool whole = cache == nullptr || (cache->length == 0 && !cache->positions.defined());
  if (fused_ && whole && of.bidirectional && kernels::cuda::has_bidirectional_attention_for(qkv, of.head_width)) {
    return kernels::cuda::bidirectional_attention(qkv, of.heads, of.key_value_heads);
  }
  const at::Tensor mixed = attend(queries, keys, values, {!of.bidirectional, fused_ && batch_invariant_, places.seen});
  return mixed.transpose(1, 2).reshape({batch, length, of.heads * of.head_width});
}

const NormWeights& Transformer::first_norm() const {
  return weights_.layers.empty() ? weights_.final_norm : weights_.layers.front().attention_norm;
}

Transformer::Places Transformer::places_of(const Cache* cache, int64_t length) const {
  if (cache != nullptr && cache->positions.defined()) {
    return places_at(cache->positions, cache->keys.empty() ? 0 : cache->keys.front().size(2));
  }
  const int64_t past = cache != nullptr ? cache->length : 0;
  const auto rows = [&](const at::Tensor& table) { return table.defined() ? table.narrow(0, past, length) : table; };
  return {rows(weights_.position_embedding), rows(cosine_), rows(sine_), rows(angles_), {}};
}

// In a text of so many known positions.
Transformer::Places Transformer::places_at(const at::Tensor& positions, int64_t known) const {
  const auto rows = [&](const at::Tensor& table) { return table.defined() ? table.index_select(0, positions) : table; };
  Places places = {rows(weights_.position_embedding), rows(cosine_), rows(sine_), rows(angles_), {}};
  if (!weights_.description.bidirectional) {
    places.seen = at::arange(known, positions.options()) <= positions.unsqueeze(1);
  }
  return places;
}

// x [B, T, C] += the product of update [B, T, in] and its bias; returns the norm of the sum.
at::Tensor Transformer::add_and_norm(at::Tensor& x, const at::Tensor& update, const LinearWeights& by,
                                     const NormWeights& norm) const {
  if (fused_ && kernels::cuda::has_adding_tile_products_for(by.weight)) {
    kernels::cuda::add_tile_product(x, update, {by.weight, by.bias});
    return kernels::cuda::norm(x, own_norm(norm));
  }
  const at::Tensor product = multiply(update, by.weight);
  if (fused_) {
    return kernels::cuda::add_and_norm(x, product, by.bias, own_norm(norm));
  }
  x = x + (by.bias.defined() ? product + by.bias : product);
  return this->norm(x, norm);
}

// The feed-forward's work up to its last product: [B, T, C] -> [B, T, F].
at::Tensor Transformer::expanded(const LayerWeights& layer, const at::Tensor& x) const {
  const TransformerDescription& of = weights_.description;
  if (fused_ && !of.gated && kernels::cuda::has_tile_products_for(layer.expand.weight)) {
    return kernels::cuda::tile_product(x, {layer.expand.weight, layer.expand.bias, of.activation});
  }
  if (fused_) {
    at::Tensor product = multiply(x, layer.expand.weight);
    if (of.gated) {
      return kernels::cuda::gate(product, layer.expand.bias, of.activation);
    }
    kernels::cuda::bias_and_activation(product, layer.expand.bias, of.activation);
    return product;
  }
  const at::Tensor product = multiply(x, layer.expand.weight, layer.expand.bias);
  if (!of.gated) {
    return activate(product, of.activation);
  }
  const int64_t width = of.feed_forward_width;
  return activate(product.narrow(2, 0, width), of.activation) * product.narrow(2, width, width);
}

template <typename Mix>
at::Tensor Transformer::run_blocks(at::Tensor x, at::Tensor normed, const Mix& mix) const {
  const std::vector<LayerWeights>& layers = weights_.layers;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const LayerWeights& own = layers[layer];
    normed = add_and_norm(x, mix(normed, layer), own.attention_projection, own.feed_forward_norm);
    normed = add_and_norm(x, expanded(own, normed), own.contract,
                          layer + 1 < layers.size() ? layers[layer + 1].attention_norm : weights_.final_norm);
  }
  return normed;
}

at::Tensor Transformer::hidden(const at::Tensor& tokens, const Cache* cache) const {
  const Places places = places_of(cache, tokens.size(1));
  at::Tensor x, normed;
  if (fused_ && (cache == nullptr || cache->length == 0)) {
    x = at::empty({tokens.size(0), tokens.size(1), weights_.description.width}, weights_.token_embedding.options());
    normed =
        kernels::cuda::embed_and_norm(x, tokens, {weights_.token_embedding, places.embedding}, own_norm(first_norm()));
  } else {
    x = at::embedding(weights_.token_embedding, tokens);
    x = places.embedding.defined() ? x + places.embedding : x;
    normed = norm(x, first_norm());
  }
  return run_blocks(x, normed,
                    [&](const at::Tensor& states, size_t layer) { return attention(states, layer, places, cache); });
}

// The attention of one new token a text, qkv [B, 1, (H + 2K) * D] -> [B, 1, H * D].
at::Tensor Transformer::attend_last(const at::Tensor& qkv, size_t layer, const GrowingText& text,
                                    const Cache& cache) const {
  return kernels::cuda::decode_attention(qkv, own_heads(layer, cosine_, sine_), cache.keys[layer], cache.values[layer],
                                         text.position, cache.workspace);
}

at::Tensor Transformer::logits_of_last(const GrowingText& text, const Cache& cache) const {
  const TransformerDescription& of = weights_.description;
  const int64_t batch = text.tokens.size(0);
  const at::Tensor x = at::empty({batch, 1, of.width}, weights_.token_embedding.options());
  const kernels::Embedding embedding{weights_.token_embedding, weights_.position_embedding};
  if (row_products_ && (batch_invariant_ || batch <= kernels::cuda::fast_row_products(x))) {
    kernels::cuda::embed_one(x, text.tokens, text.position, embedding);
    return logits_by_row_products(x, text, cache).squeeze(1);
  }
  const auto mix_last = [&](const at::Tensor& states, size_t layer) {
    const LinearWeights& product = weights_.layers[layer].query_key_value;
    return attend_last(multiply(states, product.weight, product.bias), layer, text, cache);
  };
  const at::Tensor normed =
      kernels::cuda::embed_one_and_norm(x, text.tokens, text.position, embedding, own_norm(first_norm()));
  return head(run_blocks(x, normed, mix_last)).squeeze(1);
}

// x [B, 1, C] becomes the last layer's sum.
void Transformer::add_layers_of_last(const at::Tensor& x, const GrowingText& text, const Cache& cache) const {
  const TransformerDescription& of = weights_.description;
  for (size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    const LayerWeights& own = weights_.layers[layer];
    const at::Tensor qkv = kernels::cuda::row_product(
        x, {own.query_key_value.weight, own.query_key_value.bias, own_norm(own.attention_norm)});
    kernels::cuda::add_row_product(x, attend_last(qkv, layer, text, cache),
                                   {own.attention_projection.weight, own.attention_projection.bias, {}});
    const at::Tensor expanded = kernels::cuda::row_product(
        x, {own.expand.weight, own.expand.bias, own_norm(own.feed_forward_norm), of.activation, of.gated});
    kernels::cuda::add_row_product(x, expanded, {own.contract.weight, own.contract.bias, {}});
  }
}

// The same by one kernel; false where it takes no such layers or texts.
bool Transformer::add_layers_at_once(const at::Tensor& x, const GrowingText& text, const Cache& cache) const {
  if (weights_.description.gated) {
    return false;
  }
  std::vector<kernels::cuda::DecodedLayer> layers;
  layers.reserve(weights_.layers.size());
  const auto linear = [](const LinearWeights& own) { return kernels::cuda::Linear{own.weight, own.bias}; };
  for (size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    const LayerWeights& own = weights_.layers[layer];
    layers.push_back({own_norm(own.attention_norm), linear(own.query_key_value), linear(own.attention_projection),
                      own_heads(layer, cosine_, sine_), cache.keys[layer], cache.values[layer],
                      own_norm(own.feed_forward_norm), linear(own.expand), linear(own.contract)});
  }
  return kernels::cuda::decode_layers(x, layers, text.position, weights_.description.activation);
}

at::Tensor Transformer::logits_by_row_products(const at::Tensor& x, const GrowingText& text, const Cache& cache) const {
  if (!add_layers_at_once(x, text, cache)) {
    add_layers_of_last(x, text, cache);
  }
  return kernels::cuda::row_product(x, {head_.weight, head_.bias, own_norm(weights_.final_norm)})
      .narrow(-1, 0, info_.output_size);
}

at::Tensor Transformer::head(const at::Tensor& x) const {
  return multiply(x, head_.weight, head_.bias).narrow(-1, 0, info_.output_size);
}

at::Tensor Transformer::shifted_states(const at::Tensor& states) const {
  return weights_.description.shifted ? at::cat({states.narrow(1, 0, 1), states.narrow(1, 0, states.size(1) - 1)}, 1)
                                      : states;
}

at::Tensor Transformer::logits(const at::Tensor& tokens) {
  const c10::InferenceMode inference;
  if (on_cpu_) {
    return on_cpu_->logits(tokens, {});
  }
  return head(shifted_states(hidden(tokens, nullptr)));
}

at::Tensor Transformer::logits_at(const at::Tensor& tokens, const at::Tensor& positions) {
  const c10::InferenceMode inference;
  if (on_cpu_) {
    return on_cpu_->logits(tokens, positions);
  }
  if (device_.is_cpu()) {
    return LanguageModel::logits_at(tokens, positions);  // the bits of all of them
  }
  return head(states_at(tokens, positions));  // which is dear where the vocabulary is large
}

at::Tensor Transformer::states_at(const at::Tensor& tokens, const at::Tensor& positions) const {
  const at::Tensor states = hidden(tokens, nullptr);
  const at::Tensor rows = weights_.description.shifted ? (positions - 1).clamp_min(0) : positions;
  return states.gather(1, rows.unsqueeze(2).expand({-1, -1, states.size(2)}));
}

at::Tensor Transformer::log_probability_at(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& ids,
                                           const at::Tensor& broken) {
  const c10::InferenceMode inference;
  return kernels::cuda::judged_product(states_at(tokens, positions), head_.weight, info_.output_size, ids, broken);
}

}  // namespace demask
