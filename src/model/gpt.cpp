#include "model/gpt.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "model/attention.h"

namespace demask {
namespace {

constexpr double norm_epsilon = 1e-5;

// Of beginnings that are read together, so that what reading takes does not grow with the batch.
constexpr int64_t most_tokens_read = int64_t{1} << 14;
constexpr int64_t most_logits_read = int64_t{1} << 24;
constexpr double rotary_base = 10000.0;

std::string describe(const ModelArgs& args) {
  return fmt::format("{} layers, {} heads, {} wide, {} positions, {}{}", args.n_layer, args.n_head, args.n_embd,
                     args.rotary ? "rotary" : "absolute", args.bidirectional ? "bidirectional" : "causal",
                     args.binary_classification ? ", two-class" : "");
}

// On the CPU in float32 each sample's product has a shape of its own, [T, in] x [in, out], however many samples run
// beside it: that is what makes a sample independent of its batch, bit for bit, since a BLAS may choose its kernel by
// shape.
bool sample_by_sample(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat;
}

at::Tensor exact_gelu(at::Tensor x) {
  if (!sample_by_sample(x)) {
    return at::gelu(x);
  }
  // LibTorch rounds differently in vectors and in the remainders of its work splits, which move with the tensor's size.
  for (int64_t sample = 0; sample < x.size(0); ++sample) {
    at::Tensor part = x[sample];
    at::gelu_(part);
  }
  return x;
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

at::Tensor layer_norm(const at::Tensor& x, const kernels::Norm& norm) {
  return at::layer_norm(x, norm.weight.sizes(), norm.weight, norm.bias, norm.epsilon);
}

// LibTorch's products reach half their rate on CUDA where rows of the result do not begin at 16-byte boundaries.
at::Tensor pad_rows(const at::Tensor& weight) {
  const int64_t surplus = weight.size(0) % 8;
  return !weight.is_cuda() || surplus == 0 ? weight : at::constant_pad_nd(weight, {0, 0, 0, 8 - surplus});
}

}  // namespace

std::pair<at::Tensor, at::Tensor> rotary_angles(int64_t positions, int64_t head_width) {
  const int64_t half = head_width / 2;
  const at::Tensor frequencies = at::pow(rotary_base, at::arange(half, at::kDouble).div(static_cast<double>(-half)));
  const at::Tensor angles = at::outer(at::arange(positions, at::kDouble), frequencies);
  return {angles.cos(), angles.sin()};
}

Gpt::Gpt(const NanoGptCheckpoint& checkpoint, const std::string& form, KernelChoice kernels)
    : args_(checkpoint.args), device_(checkpoint.parameters.at("transformer.wte.weight").device()) {
  prefer_fast_products();
  info_.description = form + describe(args_);
  info_.dtype = checkpoint.parameters.at("transformer.wte.weight").scalar_type();
  info_.output_size = args_.output_size();
  info_.input_size = args_.vocab_size;
  info_.block_size = args_.block_size;
  info_.causal = !args_.bidirectional;
  info_.keeps_cache = info_.causal;
  info_.bidirectional = args_.bidirectional;
  info_.mask_token_id = args_.mask_token_id;
  info_.binary_classification = args_.binary_classification;
  info_.dataset = checkpoint.dataset;
  if (kernels == KernelChoice::own) {
    on_cpu_ = GptOnCpu::make(checkpoint);
    if (on_cpu_) {
      return;
    }
  }
  const auto parameter = [&](const std::string& name) { return checkpoint.parameters.at(name); };
  const auto bias = [&](const std::string& name) { return args_.bias ? parameter(name) : at::Tensor(); };
  const auto linear = [&](const std::string& name) {
    return Linear{parameter(name + ".weight"), bias(name + ".bias")};
  };
  const auto norm = [&](const std::string& name) {
    return Norm{parameter(name + ".weight"), bias(name + ".bias"), norm_epsilon};
  };

  token_embedding_ = parameter("transformer.wte.weight");
  fused_ = kernels == KernelChoice::own &&
           kernels::cuda::has_kernels_for_model(token_embedding_, args_.n_embd, args_.n_embd / args_.n_head);
  if (args_.rotary) {
    const auto [cosine, sine] = rotary_angles(args_.block_size, args_.n_embd / args_.n_head);
    const at::TensorOptions options =
        fused_ ? token_embedding_.options().dtype(at::kFloat) : token_embedding_.options();
    cosine_ = cosine.to(options);
    sine_ = sine.to(options);
  } else {
    position_embedding_ = parameter("transformer.wpe.weight");
  }
  for (int64_t layer = 0; layer < args_.n_layer; ++layer) {
    const std::string prefix = fmt::format("transformer.h.{}.", layer);
    blocks_.push_back({norm(prefix + "ln_1"), linear(prefix + "attn.c_attn"), linear(prefix + "attn.c_proj"),
                       norm(prefix + "ln_2"), linear(prefix + "mlp.c_fc"), linear(prefix + "mlp.c_proj")});
  }
  final_norm_ = norm("transformer.ln_f");
  head_ = {pad_rows(args_.tied_head ? token_embedding_ : parameter("lm_head.weight")), {}};
}

// heads [B, H, T, D], the first of which stands at first_position.
at::Tensor Gpt::rotate(const at::Tensor& heads, int64_t first_position) const {
  const int64_t length = heads.size(2), half = heads.size(3) / 2;
  const at::Tensor cosine = cosine_.narrow(0, first_position, length);
  const at::Tensor sine = sine_.narrow(0, first_position, length);
  const at::Tensor first = heads.narrow(3, 0, half), second = heads.narrow(3, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, 3);
}

// qkv [B, T, 3C] -> [B, T, C]
at::Tensor Gpt::attention(const at::Tensor& qkv, size_t layer, const Cache* cache) const {
  const int64_t batch = qkv.size(0), length = qkv.size(1), width = args_.n_embd / args_.n_head;
  const int64_t past = cache != nullptr ? cache->length : 0;
  const bool rotated = fused_ && args_.rotary && past == 0;
  if (rotated) {
    kernels::cuda::rotate(qkv, cosine_, sine_, args_.n_head);
  }
  // [B, T, 3C] -> 3 x [B, H, T, D]
  const at::Tensor projected = qkv.view({batch, length, 3, args_.n_head, width}).permute({2, 0, 3, 1, 4});
  at::Tensor queries = projected[0], keys = projected[1], values = projected[2];
  if (args_.rotary && !rotated) {
    queries = rotate(queries, past);
    keys = rotate(keys, past);
  }
  if (cache != nullptr) {
    cache->keys[layer].narrow(2, past, length).copy_(keys);
    cache->values[layer].narrow(2, past, length).copy_(values);
    keys = cache->keys[layer].narrow(2, 0, past + length);
    values = cache->values[layer].narrow(2, 0, past + length);
  }
  const at::Tensor mixed = attend(queries, keys, values, !args_.bidirectional);
  return mixed.transpose(1, 2).reshape({batch, length, args_.n_embd});
}

at::Tensor Gpt::embed(const at::Tensor& tokens, int64_t first_position) const {
  const at::Tensor x = at::embedding(token_embedding_, tokens);
  return args_.rotary ? x : x + position_embedding_.narrow(0, first_position, tokens.size(1));
}

// x += update + the bias of the product that update came from; returns the LayerNorm of the sum.
at::Tensor Gpt::add_and_norm(at::Tensor& x, const at::Tensor& update, const Linear& from, const Norm& norm) const {
  if (fused_) {
    return kernels::cuda::add_and_norm(x, update, from.bias, norm);
  }
  x = x + (from.bias.defined() ? update + from.bias : update);
  return layer_norm(x, norm);
}

// [B, T, C] -> [B, T, C], the last bias left to the caller.
at::Tensor Gpt::feed_forward(const Block& block, const at::Tensor& x) const {
  if (!fused_) {
    return product(exact_gelu(linear(x, block.expand.weight, block.expand.bias)), block.contract.weight);
  }
  const at::Tensor expanded = product(x, block.expand.weight);
  kernels::cuda::bias_gelu(expanded, block.expand.bias);
  return product(expanded, block.contract.weight);
}

template <typename Attend>
at::Tensor Gpt::run_blocks(at::Tensor x, at::Tensor normed, const Attend& attend) const {
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Block& block = blocks_[layer];
    const at::Tensor mixed = attend(linear(normed, block.query_key_value.weight, block.query_key_value.bias), layer);
    normed = add_and_norm(x, product(mixed, block.attention_projection.weight), block.attention_projection,
                          block.feed_forward_norm);
    normed = add_and_norm(x, feed_forward(block, normed), block.contract,
                          layer + 1 < blocks_.size() ? blocks_[layer + 1].attention_norm : final_norm_);
  }
  return normed;
}

at::Tensor Gpt::hidden(const at::Tensor& tokens, const Cache* cache) const {
  const int64_t past = cache != nullptr ? cache->length : 0;
  const Norm& first_norm = blocks_.empty() ? final_norm_ : blocks_.front().attention_norm;
  at::Tensor x, normed;
  if (fused_ && past == 0) {
    x = at::empty({tokens.size(0), tokens.size(1), args_.n_embd}, token_embedding_.options());
    normed = kernels::cuda::embed_and_norm(x, tokens, {token_embedding_, position_embedding_}, first_norm);
  } else {
    x = embed(tokens, past);
    normed = layer_norm(x, first_norm);
  }
  return run_blocks(x, normed, [&](const at::Tensor& qkv, size_t layer) { return attention(qkv, layer, cache); });
}

at::Tensor Gpt::hidden_of_last(const GrowingText& text, const Cache& cache) const {
  const at::Tensor x = at::empty({text.tokens.size(0), 1, args_.n_embd}, token_embedding_.options());
  const at::Tensor normed =
      kernels::cuda::embed_one_and_norm(x, text.tokens, text.position, {token_embedding_, position_embedding_},
                                        blocks_.empty() ? final_norm_ : blocks_.front().attention_norm);
  return run_blocks(x, normed, [&](const at::Tensor& qkv, size_t layer) {
    return kernels::cuda::decode_attention(qkv, cache.keys[layer], cache.values[layer], text.position, cosine_, sine_);
  });
}

at::Tensor Gpt::head(const at::Tensor& x) const {
  return product(x, head_.weight).narrow(-1, 0, info_.output_size);
}

at::Tensor Gpt::logits(const at::Tensor& tokens) {
  const c10::InferenceMode inference;
  return on_cpu_ ? on_cpu_->logits(tokens, {}) : head(hidden(tokens, nullptr));
}

at::Tensor Gpt::logits_at(const at::Tensor& tokens, const at::Tensor& positions) {
  const c10::InferenceMode inference;
  return on_cpu_ ? on_cpu_->logits(tokens, positions) : LanguageModel::logits_at(tokens, positions);
}

class CachedSession : public DecodingSession {
 public:
  CachedSession(const Gpt& model, GrowingText text) : model_(model), text_(std::move(text)) {
    const c10::InferenceMode inference;
    const int64_t heads = model.args_.n_head;
    const std::vector<int64_t> shape = {text_.tokens.size(0), heads,
                                        std::min(text_.tokens.size(1), model.args_.block_size),
                                        model.args_.n_embd / heads};
    for (int64_t layer = 0; layer < model.args_.n_layer; ++layer) {
      cache_.keys.push_back(at::empty(shape, model.token_embedding_.options()));
      cache_.values.push_back(at::empty(shape, model.token_embedding_.options()));
    }
  }

  void restart(const Beginnings& beginnings, const OnLogits& on_logits) override {
    const c10::InferenceMode inference;
    length_ = beginnings.length;
    const at::Tensor tokens =
        beginnings.of(text_.tokens).narrow(1, 0, std::min(beginnings.length, model_.args_.block_size));
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
  bool outgrown() const { return length_ > model_.args_.block_size; }
  bool one_by_kernels() const { return model_.fused_ && cache_.length > 0 && cache_.length + 1 == length_; }

  at::Tensor hidden_states() const {
    if (outgrown()) {
      return model_.hidden(last_tokens(text_, model_.args_.block_size), nullptr);
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
      Gpt::Cache own;
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

  const Gpt& model_;
  GrowingText text_;
  int64_t length_ = 0;
  Gpt::Cache cache_;
  at::Tensor after_beginning_;  // [B, V]
};

std::unique_ptr<DecodingSession> Gpt::begin(const GrowingText& text) {
  if (args_.bidirectional) {
    return LanguageModel::begin(text);
  }
  if (on_cpu_) {
    return on_cpu_->begin(text);
  }
  return std::make_unique<CachedSession>(*this, text);
}

}  // namespace demask
