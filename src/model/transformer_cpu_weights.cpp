#include "model/transformer_cpu_weights.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "model/transformer.h"

namespace demask {
namespace {

using kernels::cpu::Isa;
using kernels::cpu::Linear;

at::Tensor single(const at::Tensor& parameter) {
  return parameter.to(at::kFloat).contiguous();
}

CpuNorm take(NormWeights& from) {
  const NormWeights own = std::exchange(from, {});
  return {own.weight.defined() ? single(own.weight) : at::Tensor(),
          own.bias.defined() ? single(own.bias) : at::Tensor()};
}

Linear take(const Isa& isa, LinearWeights& from) {
  const LinearWeights own = std::exchange(from, {});
  return kernels::cpu::pack(isa, own.weight, own.bias);
}

// The feed-forward's first layer. Its outputs are rounded up to pairs: further ones are zero, as are the activations of
// zero and the weights that meet them.
Linear take_expand(const Isa& isa, LinearWeights& from, bool gated) {
  const LinearWeights own = std::exchange(from, {});
  Linear linear =
      gated ? kernels::cpu::pack_gated(isa, own.weight, own.bias) : kernels::cpu::pack(isa, own.weight, own.bias);
  linear.outputs += linear.outputs % isa.pair;
  return linear;
}

CpuBlock take(const Isa& isa, LayerWeights& from, bool gated) {
  CpuBlock block;
  block.attention_norm = take(from.attention_norm);
  block.query_key_value = take(isa, from.query_key_value);
  block.query_norm = take(from.query_norm);
  block.key_norm = take(from.key_norm);
  block.attention_projection = take(isa, from.attention_projection);
  block.feed_forward_norm = take(from.feed_forward_norm);
  block.expand = take_expand(isa, from.expand, gated);
  block.contract = take(isa, from.contract);
  return block;
}

// x[k] = row[k / pair * step + k % pair]
template <typename Element>
void widen(const Element* row, int64_t step, int64_t pair, int64_t width, float* x) {
  for (int64_t k = 0; k < width; k += pair, row += step) {
    for (int64_t i = 0; i < pair; ++i) {
      x[k + i] = static_cast<float>(row[i]);
    }
  }
}

}  // namespace

CpuWeights take_weights(const Isa& isa, TransformerWeights& from) {
  const c10::InferenceMode inference;
  const TransformerDescription& of = from.description;
  CpuWeights weights;
  const bool shared = of.tied_head && from.head.weight.is_same(from.token_embedding);
  if (shared) {
    from.token_embedding.reset();
  }
  weights.head = take(isa, from.head);
  if (!shared) {
    weights.token_embedding = std::exchange(from.token_embedding, {}).contiguous();
  }
  if (of.rotary) {
    const auto [cosine, sine] = rotary_angles(of);
    weights.cosine = single(cosine);
    weights.sine = single(sine);
  } else {
    weights.position_embedding = single(std::exchange(from.position_embedding, {}));
  }
  for (LayerWeights& layer : from.layers) {
    weights.blocks.push_back(take(isa, layer, of.gated));
  }
  weights.final_norm = take(from.final_norm);
  return weights;
}

void embed_token(const Isa& isa, const CpuWeights& weights, int64_t token, int64_t width, float* x) {
  const bool own = weights.token_embedding.defined();
  const int64_t step = isa.pair * (own ? 1 : isa.columns);
  const int64_t first =
      own ? token * width : token / isa.columns * isa.columns * width + token % isa.columns * isa.pair;
  const void* const elements = own ? weights.token_embedding.data_ptr() : weights.head.panels.data_ptr();
  if (isa.element_bytes == 2) {
    widen(static_cast<const at::BFloat16*>(elements) + first, step, isa.pair, width, x);
  } else {
    widen(static_cast<const float*>(elements) + first, step, isa.pair, width, x);
  }
}

}  // namespace demask
