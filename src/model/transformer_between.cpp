// Forwards of plain transformers, in which one kernel may do all that stands between two attentions.
#include <ATen/ATen.h>

#include <algorithm>

#include "model/transformer.h"

namespace demask {
namespace {

// Whether tile products do all of the layer's products, so that the kernel that does them at once gives their bits.
bool takes_tile_products(const LayerWeights& layer, bool rotary) {
  const at::Tensor& qkv = layer.query_key_value.weight;
  return !layer.query_norm.weight.defined() && !layer.key_norm.weight.defined() &&
         (rotary ? kernels::cuda::has_tile_products_for(qkv) : kernels::cuda::tile_product_alone_suits(qkv)) &&
         kernels::cuda::has_adding_tile_products_for(layer.attention_projection.weight) &&
         kernels::cuda::has_tile_products_for(layer.expand.weight) &&
         kernels::cuda::has_adding_tile_products_for(layer.contract.weight);
}

}  // namespace

bool Transformer::between_suits() const {
  const TransformerDescription& of = weights_.description;
  return fused_ && !of.gated && of.heads == of.key_value_heads && of.heads * of.head_width == of.width &&
         of.rotary == angles_.defined() && !weights_.layers.empty() &&
         std::all_of(weights_.layers.begin(), weights_.layers.end(),
                     [&](const LayerWeights& layer) { return takes_tile_products(layer, of.rotary); });
}

at::Tensor Transformer::run_between(at::Tensor x, const at::Tensor& normed, const Places& places,
                                    const Cache* cache) const {
  const TransformerDescription& of = weights_.description;
  const std::vector<LayerWeights>& layers = weights_.layers;
  const auto linear = [](const LinearWeights& own) { return kernels::cuda::Linear{own.weight, own.bias}; };
  at::Tensor found = query_key_value(normed, 0, places);
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const LayerWeights& own = layers[layer];
    const bool last = layer + 1 == layers.size();
    const at::Tensor mixed = attend_prepared(found, layer, places, cache);
    kernels::cuda::Between step = {linear(own.attention_projection),
                                   own_norm(own.feed_forward_norm),
                                   linear(own.expand),
                                   of.activation,
                                   linear(own.contract),
                                   own_norm(last ? weights_.final_norm : layers[layer + 1].attention_norm),
                                   {}};
    if (!last) {
      const LinearWeights& next = layers[layer + 1].query_key_value;
      step.next = {next.weight, next.bias, {}, places.angles, 2 * of.heads, of.head_width};
    }
    found = kernels::cuda::between_attentions(x, mixed, step);
    if (!found.defined()) {
      found = finish_layer(x, mixed, layer);
      found = last ? found : query_key_value(found, layer + 1, places);
    }
  }
  return found;
}

}  // namespace demask
