#include "model/transformer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "model/attention.h"

namespace demask {
namespace {

// Of beginnings that are read together, so that what reading takes does not grow with the batch.
constexpr int64_t most_tokens_read = int64_t{1} << 14;
constexpr int64_t most_logits_read = int64_t{1} << 24;

std::string describe(const TransformerDescription& of) {
  const std::string grouped = of.key_value_heads != of.heads ? fmt::format(" ({} of keys)", of.key_value_heads) : "";
  return fmt::format("{}{} layers, {} heads{}, {} wide, {} positions, {}{}",
                     of.family == "nanogpt" ? "" : of.family + ", ", of.layers, of.heads, grouped, of.width,
                     of.rotary ? "rotary" : "absolute", of.bidirectional ? "bidirectional" : "causal",
                     of.binary_classification ? ", two-class" : "");
}

// On the CPU in float32 each sample's product has a shape of its own, [T, in] x [in, out], however many samples run
// beside it: that is what makes a sample independent of its batch, bit for bit, since a BLAS may choose its kernel by
// shape.
bool sample_by_sample(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat;
}

at::Tensor activate_at_once(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::gelu:
      break;
  }
  return at::gelu(x);
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  if (!sample_by_sample(x)) {
    return activate_at_once(x, activation);
  }
  // LibTorch rounds differently in vectors and in the remainders of its work splits, which move with the tensor's size.
  std::vector<at::Tensor> samples;
  for (int64_t sample = 0; sample < x.size(0); ++sample) {
    samples.push_back(activate_at_once(x[sample], activation));
  }
  return at::stack(samples);
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  if (!sample_by_sample(x)) {
    return at::linear(x, weight);
  }
  // A single row alone would go to another kernel where LibTorch uses MKL: it goes in company, and the copy is dropped.
  const int64_t batch = x.size(0);
  const int64_t rows = at::hasMKL() && batch == 1 && x.size(1) == 1 ? 2 : batch;
  const at::Tensor shared = weight.t().unsqueeze(0).expand({rows, weight.size(1), weight.size(0)});
  return at::bmm(x.expand({rows, x.size(1), x.size(2)}), shared).narrow(0, 0, batch);
}

// x [B, T, in], weight [out, in], bias [out] or undefined -> [B, T, out].
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!bias.defined()) {
    return product(x, weight);
  }
  return sample_by_sample(x) ? product(x, weight).add_(bias) : at::linear(x, weight, bias);
}

// x [..., C]; computed in float32, as the families do.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor wide = x.to(at::promote_types(x.scalar_type(), at::kFloat));
  return wide.mul(at::rsqrt(wide.square().mean(-1, /*keepdim=*/true).add_(epsilon))).to(x.scalar_type()).mul_(weight);
}

// LibTorch's products reach half their rate on CUDA where rows of the result do not begin at 16-byte boundaries.
at::Tensor pad_rows(const at::Tensor& parameter) {
  const int64_t surplus = parameter.defined() && parameter.is_cuda() ? parameter.size(0) % 8 : 0;
  if (surplus == 0) {
    return parameter;
  }
  std::vector<int64_t> padding(static_cast<size_t>(2 * parameter.dim()), 0);
  padding.back() = 8 - surplus;
  return at::constant_pad_nd(parameter, padding);
}

// Whether the CUDA kernels of a forward compute this model.
bool suits_cuda_kernels(const TransformerWeights& weights) {
  const TransformerDescription& of = weights.description;
  return of.norm == NormKind::layer && of.activation == Activation::gelu && !of.gated &&
         of.key_value_heads == of.heads && of.heads * of.head_width == of.width && !of.shifted &&
         kernels::cuda::has_kernels_for_model(weights.token_embedding, of.width, of.head_width);
}

// heads [B, K, T, D] -> [B, H, T, D], each as often as it has queries.
at::Tensor for_each_query(const at::Tensor& heads, int64_t queries) {
  const int64_t each = queries / heads.size(1);
  return each == 1 ? heads : heads.repeat_interleave(each, 1);
}

}  // namespace

namespace {

// As Llama 3.1 stretches long wavelengths, see RotaryScaling.
at::Tensor scale_frequencies(const at::Tensor& frequencies, const RotaryScaling& scaling) {
  const double pi = std::acos(-1.0), original = static_cast<double>(scaling.original_positions);
  const at::Tensor turns = frequencies.mul(original / (2 * pi));  // within the original positions
  const at::Tensor share = turns.sub(scaling.low_frequency_factor)
                               .div(scaling.high_frequency_factor - scaling.low_frequency_factor)
                               .clamp(0, 1);
  return frequencies.mul(share + (1 - share) / scaling.factor);
}

}  // namespace

std::pair<at::Tensor, at::Tensor> rotary_angles(const TransformerDescription& of) {
  const int64_t half = of.head_width / 2;
  at::Tensor frequencies = at::pow(of.rotary_base, at::arange(half, at::kDouble).div(static_cast<double>(-half)));
  if (of.rotary_scaling) {
    frequencies = scale_frequencies(frequencies, *of.rotary_scaling);
  }
  const at::Tensor angles = at::outer(at::arange(of.block_size, at::kDouble), frequencies);
  return {angles.cos(), angles.sin()};
}

Transformer::Transformer(TransformerWeights weights, const std::string& form, KernelChoice kernels)
    : Transformer(*make_weight_source(std::move(weights)), form, kernels) {}

Transformer::Transformer(WeightSource& source, const std::string& form, KernelChoice kernels)
    : device_(source.options().device()) {
  prefer_fast_products();
  const TransformerDescription& of = source.description();
  info_.description = form + describe(of);
  info_.dtype = c10::typeMetaToScalarType(source.options().dtype());
  info_.output_size = of.outputs;
  info_.input_size = of.vocabulary_size;
  info_.block_size = of.block_size;
  info_.causal = !of.bidirectional;
  info_.keeps_cache = info_.causal;
  info_.bidirectional = of.bidirectional;
  info_.mask_token_id = of.mask_token_id;
  info_.binary_classification = of.binary_classification;
  info_.dataset = source.dataset();
  if (kernels == KernelChoice::own) {
    on_cpu_ = TransformerOnCpu::make(source);
  }
  if (on_cpu_) {
    weights_.description = of;
    return;
  }
  weights_ = read_all(source);
  fused_ = kernels == KernelChoice::own && suits_cuda_kernels(weights_);
  if (of.rotary) {
    const auto [cosine, sine] = rotary_angles(of);
    const at::TensorOptions own = weights_.token_embedding.options();
    const at::TensorOptions options = fused_ ? own.dtype(at::kFloat) : own;
    cosine_ = cosine.to(options);
    sine_ = sine.to(options);
  }
  head_ = {pad_rows(weights_.head.weight), pad_rows(weights_.head.bias)};
}

kernels::Norm Transformer::own_norm(const NormWeights& weights) const {
  return {weights.weight, weights.bias, weights_.description.norm_epsilon};
}

at::Tensor Transformer::norm(const at::Tensor& x, const NormWeights& weights) const {
  const TransformerDescription& of = weights_.description;
  return of.norm == NormKind::rms
             ? rms_norm(x, weights.weight, of.norm_epsilon)
             : at::layer_norm(x, weights.weight.sizes(), weights.weight, weights.bias, of.norm_epsilon);
}

// heads [B, H, T, D], the first of which stands at first_position.
at::Tensor Transformer::rotate(const at::Tensor& heads, int64_t first_position) const {
  const int64_t length = heads.size(2), half = heads.size(3) / 2;
  const at::Tensor cosine = cosine_.narrow(0, first_position, length);
  const at::Tensor sine = sine_.narrow(0, first_position, length);
  const at::Tensor first = heads.narrow(3, 0, half), second = heads.narrow(3, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, 3);
}

// qkv [B, T, (H + 2K) * D] -> [B, T, H * D]
at::Tensor Transformer::attention(const at::Tensor& qkv, size_t layer, const Cache* cache) const {
  const TransformerDescription& of = weights_.description;
  const LayerWeights& weights = weights_.layers[layer];
  const int64_t batch = qkv.size(0), length = qkv.size(1), past = cache != nullptr ? cache->length : 0;
  const bool rotated = fused_ && of.rotary && past == 0;
  if (rotated) {
    kernels::cuda::rotate(qkv, cosine_, sine_, of.heads);
  }
  int64_t column = 0;
  const auto next = [&](int64_t heads, const NormWeights& head_norm) {  // [B, T, heads * D] -> [B, heads, T, D]
    const at::Tensor part = qkv.narrow(2, column, heads * of.head_width).view({batch, length, heads, of.head_width});
    column += heads * of.head_width;
    return (head_norm.weight.defined() ? rms_norm(part, head_norm.weight, of.norm_epsilon) : part).transpose(1, 2);
  };
  at::Tensor queries = next(of.heads, weights.query_norm);
  at::Tensor keys = next(of.key_value_heads, weights.key_norm);
  at::Tensor values = next(of.key_value_heads, {});
  if (of.rotary && !rotated) {
    queries = rotate(queries, past);
    keys = rotate(keys, past);
  }
  if (cache != nullptr) {
    cache->keys[layer].narrow(2, past, length).copy_(keys);
    cache->values[layer].narrow(2, past, length).copy_(values);
    keys = cache->keys[layer].narrow(2, 0, past + length);
    values = cache->values[layer].narrow(2, 0, past + length);
  }
  const at::Tensor mixed =
      attend(queries, for_each_query(keys, of.heads), for_each_query(values, of.heads), !of.bidirectional);
  return mixed.transpose(1, 2).reshape({batch, length, of.heads * of.head_width});
}

const NormWeights& Transformer::first_norm() const {
  return weights_.layers.empty() ? weights_.final_norm : weights_.layers.front().attention_norm;
}

at::Tensor Transformer::embed(const at::Tensor& tokens, int64_t first_position) const {
  const at::Tensor x = at::embedding(weights_.token_embedding, tokens);
  return weights_.description.rotary ? x : x + weights_.position_embedding.narrow(0, first_position, tokens.size(1));
}

// x += update + the bias of the product that update came from; returns the norm of the sum.
at::Tensor Transformer::add_and_norm(at::Tensor& x, const at::Tensor& update, const LinearWeights& from,
                                     const NormWeights& norm) const {
  if (fused_) {
    return kernels::cuda::add_and_norm(x, update, from.bias, own_norm(norm));
  }
  x = x + (from.bias.defined() ? update + from.bias : update);
  return this->norm(x, norm);
}

// [B, T, C] -> [B, T, C], the last bias left to the caller.
at::Tensor Transformer::feed_forward(const LayerWeights& layer, const at::Tensor& x) const {
  const TransformerDescription& of = weights_.description;
  if (fused_) {
    const at::Tensor expanded = product(x, layer.expand.weight);
    kernels::cuda::bias_gelu(expanded, layer.expand.bias);
    return product(expanded, layer.contract.weight);
  }
  const at::Tensor expanded = linear(x, layer.expand.weight, layer.expand.bias);
  if (!of.gated) {
    return product(activate(expanded, of.activation), layer.contract.weight);
  }
  const int64_t width = of.feed_forward_width;
  const at::Tensor gate = activate(expanded.narrow(2, 0, width), of.activation);
  return product(gate * expanded.narrow(2, width, width), layer.contract.weight);
}

template <typename Attend>
at::Tensor Transformer::run_blocks(at::Tensor x, at::Tensor normed, const Attend& attend) const {
  const std::vector<LayerWeights>& layers = weights_.layers;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const LayerWeights& own = layers[layer];
    const at::Tensor mixed = attend(linear(normed, own.query_key_value.weight, own.query_key_value.bias), layer);
    normed = add_and_norm(x, product(mixed, own.attention_projection.weight), own.attention_projection,
                          own.feed_forward_norm);
    normed = add_and_norm(x, feed_forward(own, normed), own.contract,
                          layer + 1 < layers.size() ? layers[layer + 1].attention_norm : weights_.final_norm);
  }
  return normed;
}

at::Tensor Transformer::hidden(const at::Tensor& tokens, const Cache* cache) const {
  const int64_t past = cache != nullptr ? cache->length : 0;
  at::Tensor x, normed;
  if (fused_ && past == 0) {
    x = at::empty({tokens.size(0), tokens.size(1), weights_.description.width}, weights_.token_embedding.options());
    normed = kernels::cuda::embed_and_norm(x, tokens, {weights_.token_embedding, weights_.position_embedding},
                                           own_norm(first_norm()));
  } else {
    x = embed(tokens, past);
    normed = norm(x, first_norm());
  }
  return run_blocks(x, normed, [&](const at::Tensor& qkv, size_t layer) { return attention(qkv, layer, cache); });
}

at::Tensor Transformer::hidden_of_last(const GrowingText& text, const Cache& cache) const {
  const at::Tensor x =
      at::empty({text.tokens.size(0), 1, weights_.description.width}, weights_.token_embedding.options());
  const at::Tensor normed = kernels::cuda::embed_one_and_norm(
      x, text.tokens, text.position, {weights_.token_embedding, weights_.position_embedding}, own_norm(first_norm()));
  return run_blocks(x, normed, [&](const at::Tensor& qkv, size_t layer) {
    return kernels::cuda::decode_attention(qkv, cache.keys[layer], cache.values[layer], text.position, cosine_, sine_);
  });
}

at::Tensor Transformer::head(const at::Tensor& x) const {
  return linear(x, head_.weight, head_.bias).narrow(-1, 0, info_.output_size);
}

at::Tensor Transformer::logits(const at::Tensor& tokens) {
  const c10::InferenceMode inference;
  if (on_cpu_) {
    return on_cpu_->logits(tokens, {});
  }
  const at::Tensor states = hidden(tokens, nullptr);
  if (!weights_.description.shifted) {
    return head(states);
  }
  return head(at::cat({states.narrow(1, 0, 1), states.narrow(1, 0, states.size(1) - 1)}, 1));
}

at::Tensor Transformer::logits_at(const at::Tensor& tokens, const at::Tensor& positions) {
  const c10::InferenceMode inference;
  return on_cpu_ ? on_cpu_->logits(tokens, positions) : LanguageModel::logits_at(tokens, positions);
}

class CachedSession : public DecodingSession {
 public:
  CachedSession(const Transformer& model, GrowingText text) : model_(model), text_(std::move(text)) {
    const c10::InferenceMode inference;
    const TransformerDescription& of = model.weights_.description;
    const std::vector<int64_t> shape = {text_.tokens.size(0), of.key_value_heads,
                                        std::min(text_.tokens.size(1), of.block_size), of.head_width};
    for (int64_t layer = 0; layer < of.layers; ++layer) {
      cache_.keys.push_back(at::empty(shape, model.weights_.token_embedding.options()));
      cache_.values.push_back(at::empty(shape, model.weights_.token_embedding.options()));
    }
  }

  void restart(const Beginnings& beginnings, const OnLogits& on_logits) override {
    const c10::InferenceMode inference;
    length_ = beginnings.length;
    const at::Tensor tokens =
        beginnings.of(text_.tokens).narrow(1, 0, std::min(beginnings.length, model_.info_.block_size));
    const at::Tensor last = read(tokens, on_logits);
    cache_.length = tokens.size(1);
    for (const std::vector<at::Tensor>* tensors : {&cache_.keys, &cache_.values}) {
      for (const at::Tensor& each : *tensors) {
        beginnings.spread(each.narrow(2, 0, cache_.length));
      }
    }
    after_beginning_ = beginnings.for_each_text(last);
  }

  at::Tensor next_logits() override {
    const c10::InferenceMode inference;
    if (cache_.length == length_) {
      return after_beginning_;
    }
    const at::Tensor hidden = hidden_states();
    return model_.head(hidden.narrow(1, hidden.size(1) - 1, 1)).squeeze(1);
  }

  void advance() override {
    cache_.length = length_;
    ++length_;
  }

  int64_t phase() const override { return outgrown() ? 1 : one_by_kernels() ? 0 : -1; }

 private:
  bool outgrown() const { return length_ > model_.info_.block_size; }
  bool one_by_kernels() const { return model_.fused_ && cache_.length > 0 && cache_.length + 1 == length_; }

  at::Tensor hidden_states() const {
    if (outgrown()) {
      return model_.hidden(last_tokens(text_, model_.info_.block_size), nullptr);
    }
    if (one_by_kernels()) {
      return model_.hidden_of_last(text_, cache_);
    }
    return model_.hidden(text_.tokens.narrow(1, cache_.length, length_ - cache_.length), &cache_);
  }

  // tokens [G, T] -> the logits [G, V] after them, with their keys and values in the first G texts of the cache.
  at::Tensor read(const at::Tensor& tokens, const OnLogits& on_logits) const {
    std::vector<at::Tensor> last;
    for_slices(tokens.size(0), tokens.size(1), std::max(most_tokens_read, tokens.size(1)), [&](const Slice& texts) {
      Transformer::Cache own;
      for (size_t layer = 0; layer < cache_.keys.size(); ++layer) {
        own.keys.push_back(cache_.keys[layer].narrow(0, texts.first_text, texts.texts));
        own.values.push_back(cache_.values[layer].narrow(0, texts.first_text, texts.texts));
      }
      const at::Tensor hidden = model_.hidden(texts.of(tokens), &own);
      for_slices(texts.texts, texts.positions, std::max<int64_t>(1, most_logits_read / model_.info_.output_size),
                 [&](const Slice& slice) {
                   on_logits({texts.first_text + slice.first_text, slice.texts, slice.first_position, slice.positions},
                             model_.head(slice.of(hidden)));
                 });
      last.push_back(model_.head(hidden.narrow(1, hidden.size(1) - 1, 1)).squeeze(1));
    });
    return at::cat(last);
  }

  const Transformer& model_;
  GrowingText text_;
  int64_t length_ = 0;
  Transformer::Cache cache_;
  at::Tensor after_beginning_;  // [B, V]
};

std::unique_ptr<DecodingSession> Transformer::begin(const GrowingText& text) {
  if (info_.bidirectional) {
    return LanguageModel::begin(text);
  }
  if (on_cpu_) {
    return on_cpu_->begin(text);
  }
  return std::make_unique<CachedSession>(*this, text);
}

}  // namespace demask
