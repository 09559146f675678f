#include "model/transformer_cpu_weights.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "core/freed_memory.h"
#include "model/transformer.h"

namespace demask {
namespace {

using kernels::cpu::Isa;
using kernels::cpu::Linear;

at::Tensor single(const at::Tensor& parameter) {
  return parameter.to(at::kFloat).contiguous();
}

CpuNorm pack(const NormWeights& from) {
  return {from.weight.defined() ? single(from.weight) : at::Tensor(),
          from.bias.defined() ? single(from.bias) : at::Tensor()};
}

// Lets go of the weights it has packed.
Linear pack(const Isa& isa, LinearWeights& from) {
  const LinearWeights own = std::exchange(from, {});
  return kernels::cpu::pack(isa, own.weight, own.bias);
}

// The feed-forward's first layer. Its outputs are rounded up to pairs: further ones are zero, as are the activations of
// zero and the weights that meet them.
Linear pack_expand(const Isa& isa, LinearWeights& from, bool gated) {
  const LinearWeights own = std::exchange(from, {});
  Linear linear =
      gated ? kernels::cpu::pack_gated(isa, own.weight, own.bias) : kernels::cpu::pack(isa, own.weight, own.bias);
  linear.outputs += linear.outputs % isa.pair;
  return linear;
}

CpuBlock pack(const Isa& isa, LayerWeights from, bool gated) {
  CpuBlock block;
  block.attention_norm = pack(from.attention_norm);
  block.query_key_value = pack(isa, from.query_key_value);
  block.query_norm = pack(from.query_norm);
  block.key_norm = pack(from.key_norm);
  block.attention_projection = pack(isa, from.attention_projection);
  block.feed_forward_norm = pack(from.feed_forward_norm);
  block.expand = pack_expand(isa, from.expand, gated);
  block.contract = pack(isa, from.contract);
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

CpuWeights pack_weights(const Isa& isa, WeightSource& source) {
  const c10::InferenceMode inference;
  const TransformerDescription& of = source.description();
  CpuWeights weights;
  LinearWeights head = source.head();
  if (of.tied_head) {
    head.weight = source.token_embedding();
  }
  weights.head = pack(isa, head);
  if (!of.tied_head) {
    weights.token_embedding = source.token_embedding().contiguous();
  }
  if (of.rotary) {
    const auto [cosine, sine] = rotary_angles(of);
    weights.cosine = single(cosine);
    weights.sine = single(sine);
  } else {
    weights.position_embedding = single(source.position_embedding());
  }
  for (int64_t number = 0; number < of.layers; ++number) {
    weights.blocks.push_back(pack(isa, source.layer(number), of.gated));
    return_freed_memory();
  }
  weights.final_norm = pack(source.final_norm());
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
