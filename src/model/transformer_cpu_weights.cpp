#include "model/transformer_cpu_weights.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "core/freed_memory.h"
#include "model/transformer.h"

namespace demask {
namespace {

using kernels::cpu::Isa;
using kernels::cpu::LargePages;
using kernels::cpu::Linear;

at::Tensor single(const at::Tensor& parameter) {
  return parameter.to(at::kFloat).contiguous();
}

CpuNorm pack(const NormWeights& from) {
  return {from.weight.defined() ? single(from.weight) : at::Tensor(),
          from.bias.defined() ? single(from.bias) : at::Tensor()};
}

// Lets go of the weights it has packed.
Linear pack(const Isa& isa, LinearWeights& from, LargePages& pages) {
  const LinearWeights own = std::exchange(from, {});
  return kernels::cpu::pack(isa, own.weight, own.bias, pages);
}

// The feed-forward's first layer. Its outputs are rounded up to whole pairs: further ones are zero, as are the
// activations of zero and the weights that meet them.
Linear pack_expand(const Isa& isa, LinearWeights& from, bool gated, LargePages& pages) {
  const LinearWeights own = std::exchange(from, {});
  Linear linear = gated ? kernels::cpu::pack_gated(isa, own.weight, own.bias, pages)
                        : kernels::cpu::pack(isa, own.weight, own.bias, pages);
  linear.outputs = (linear.outputs + isa.pair - 1) / isa.pair * isa.pair;
  return linear;
}

CpuBlock pack(const Isa& isa, LayerWeights from, bool gated, LargePages& pages) {
  CpuBlock block;
  block.attention_norm = pack(from.attention_norm);
  block.query_key_value = pack(isa, from.query_key_value, pages);
  block.query_norm = pack(from.query_norm);
  block.key_norm = pack(from.key_norm);
  block.attention_projection = pack(isa, from.attention_projection, pages);
  block.feed_forward_norm = pack(from.feed_forward_norm);
  block.expand = pack_expand(isa, from.expand, gated, pages);
  block.contract = pack(isa, from.contract, pages);
  return block;
}

template <typename Stored>
void widen(const Stored* row, int64_t width, float* x) {
  for (int64_t k = 0; k < width; ++k) {
    x[k] = static_cast<float>(row[k]);
  }
}

}  // namespace

CpuWeights pack_weights(const Isa& isa, WeightSource& source) {
  const c10::InferenceMode inference;
  const TransformerDescription& of = source.description();
  source.lend();  // every linear layer's weights become panels before the next part is asked for
  CpuWeights weights;
  LargePages pages;
  LinearWeights head = source.head();
  if (!of.tied_head) {
    weights.head = pack(isa, head, pages);
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
    LayerWeights layer = source.layer(number);
    return_freed_memory();  // what reading took
    weights.blocks.push_back(pack(isa, std::move(layer), of.gated, pages));
    return_freed_memory();
  }
  weights.final_norm = pack(source.final_norm());
  if (of.tied_head) {
    const auto rows = [&](int64_t first, int64_t count) { return source.token_embedding_rows(first, count); };
    weights.head = kernels::cpu::pack(isa, of.vocabulary_size, of.width, rows, head.bias, pages);
    return_freed_memory();
  }
  return weights;
}

void embed_token(const Isa& isa, const CpuWeights& weights, int64_t token, int64_t width, float* x) {
  const at::Tensor& own = weights.token_embedding;
  if (!own.defined()) {
    isa.unpack_row(weights.head.panels.data_ptr(), width, token, x);
    return;
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, own.scalar_type(), "embed_token",
                                  [&] { widen(own.data_ptr<scalar_t>() + token * width, width, x); });
}

}  // namespace demask
