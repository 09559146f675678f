#include "demask/model/gpt.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "demask/model/attention.h"

namespace demask {
namespace {

constexpr double norm_epsilon = 1e-5;
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

}  // namespace

at::Tensor Gpt::Linear::operator()(const at::Tensor& x) const {
  if (!sample_by_sample(x)) {
    return at::linear(x, weight, bias);
  }
  // A single row alone would go to another kernel where LibTorch uses MKL: it goes in company, and the copy is dropped.
  const int64_t batch = x.size(0);
  const int64_t rows = at::hasMKL() && batch == 1 && x.size(1) == 1 ? 2 : batch;
  const at::Tensor shared = weight.t().unsqueeze(0).expand({rows, weight.size(1), weight.size(0)});
  at::Tensor product = at::bmm(x.expand({rows, x.size(1), x.size(2)}), shared).narrow(0, 0, batch);
  return bias.defined() ? product.add_(bias) : product;
}

at::Tensor Gpt::Norm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, norm_epsilon);
}

Gpt::Gpt(const NanoGptCheckpoint& checkpoint) : args_(checkpoint.args) {
  choose_kernels();
  const auto parameter = [&](const std::string& name) { return checkpoint.parameters.at(name); };
  const auto bias = [&](const std::string& name) { return args_.bias ? parameter(name) : at::Tensor(); };
  const auto linear = [&](const std::string& name) {
    return Linear{parameter(name + ".weight"), bias(name + ".bias")};
  };
  const auto norm = [&](const std::string& name) { return Norm{parameter(name + ".weight"), bias(name + ".bias")}; };

  token_embedding_ = parameter("transformer.wte.weight");
  if (args_.rotary) {
    const int64_t half = args_.n_embd / args_.n_head / 2;
    const at::Tensor frequencies = at::pow(rotary_base, at::arange(half, at::kDouble).div(static_cast<double>(-half)));
    const at::Tensor angles = at::outer(at::arange(args_.block_size, at::kDouble), frequencies);
    cosine_ = angles.cos().to(token_embedding_.options());
    sine_ = angles.sin().to(token_embedding_.options());
  } else {
    position_embedding_ = parameter("transformer.wpe.weight");
  }
  for (int64_t layer = 0; layer < args_.n_layer; ++layer) {
    const std::string prefix = fmt::format("transformer.h.{}.", layer);
    blocks_.push_back({norm(prefix + "ln_1"), linear(prefix + "attn.c_attn"), linear(prefix + "attn.c_proj"),
                       norm(prefix + "ln_2"), linear(prefix + "mlp.c_fc"), linear(prefix + "mlp.c_proj")});
  }
  final_norm_ = norm("transformer.ln_f");
  head_ = {args_.tied_head ? token_embedding_ : parameter("lm_head.weight"), {}};

  info_.description = describe(args_);
  info_.output_size = args_.output_size();
  info_.input_size = args_.vocab_size;
  info_.block_size = args_.block_size;
  info_.causal = !args_.bidirectional;
  info_.binary_classification = args_.binary_classification;
  info_.dataset = checkpoint.dataset;
}

// heads [B, H, T, D], the first of which stands at first_position.
at::Tensor Gpt::rotate(const at::Tensor& heads, int64_t first_position) const {
  const int64_t length = heads.size(2), half = heads.size(3) / 2;
  const at::Tensor cosine = cosine_.narrow(0, first_position, length);
  const at::Tensor sine = sine_.narrow(0, first_position, length);
  const at::Tensor first = heads.narrow(3, 0, half), second = heads.narrow(3, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, 3);
}

at::Tensor Gpt::attention(const Block& block, const at::Tensor& x, size_t layer, Cache* cache) const {
  const int64_t batch = x.size(0), length = x.size(1), width = args_.n_embd / args_.n_head;
  const int64_t past = cache != nullptr ? cache->length : 0;
  // [B, T, 3C] -> 3 x [B, H, T, D]
  const at::Tensor projected =
      block.query_key_value(x).view({batch, length, 3, args_.n_head, width}).permute({2, 0, 3, 1, 4});
  at::Tensor queries = projected[0], keys = projected[1], values = projected[2];
  if (args_.rotary) {
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
  return block.attention_projection(mixed.transpose(1, 2).reshape({batch, length, args_.n_embd}));
}

at::Tensor Gpt::hidden(const at::Tensor& tokens, Cache* cache) const {
  const int64_t past = cache != nullptr ? cache->length : 0;
  at::Tensor x = at::embedding(token_embedding_, tokens);
  if (!args_.rotary) {
    x = x + position_embedding_.narrow(0, past, tokens.size(1));
  }
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Block& block = blocks_[layer];
    x = x + attention(block, block.attention_norm(x), layer, cache);
    x = x + block.contract(exact_gelu(block.expand(block.feed_forward_norm(x))));
  }
  if (cache != nullptr) {
    cache->length += tokens.size(1);
  }
  return final_norm_(x);
}

at::Tensor Gpt::head(const at::Tensor& x) const {
  return head_(x).to(at::kFloat);
}

at::Tensor Gpt::logits(const at::Tensor& tokens) {
  const c10::InferenceMode inference;
  return head(hidden(tokens, nullptr));
}

class CachedSession : public DecodingSession {
 public:
  CachedSession(const Gpt& model, int64_t batch, int64_t max_length)
      : model_(model), context_(at::empty({batch, max_length}, at::TensorOptions(at::kLong).device(model.device()))) {
    const c10::InferenceMode inference;
    const int64_t heads = model.args_.n_head;
    const std::vector<int64_t> shape = {batch, heads, std::min(max_length, model.args_.block_size),
                                        model.args_.n_embd / heads};
    for (int64_t layer = 0; layer < model.args_.n_layer; ++layer) {
      cache_.keys.push_back(at::empty(shape, model.token_embedding_.options()));
      cache_.values.push_back(at::empty(shape, model.token_embedding_.options()));
    }
  }

  at::Tensor append(const at::Tensor& tokens) override {
    const c10::InferenceMode inference;
    context_.narrow(1, length_, tokens.size(1)).copy_(tokens);
    length_ += tokens.size(1);
    const int64_t block = model_.args_.block_size;
    const at::Tensor hidden = length_ <= block ? model_.hidden(tokens, &cache_)
                                               : model_.hidden(context_.narrow(1, length_ - block, block), nullptr);
    return model_.head(hidden.narrow(1, hidden.size(1) - 1, 1)).squeeze(1);
  }

 private:
  const Gpt& model_;
  at::Tensor context_;  // [B, max_length]
  int64_t length_ = 0;
  Gpt::Cache cache_;
};

std::unique_ptr<DecodingSession> Gpt::begin(int64_t batch, int64_t max_length) {
  if (args_.bidirectional) {
    return LanguageModel::begin(batch, max_length);
  }
  return std::make_unique<CachedSession>(*this, batch, max_length);
}

}  // namespace demask
