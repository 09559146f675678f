#include "checkpoint/family_tensors.h"

#include "checkpoint/families/families.h"
#include "checkpoint/families/mdlm_tensors.h"
#include "core/error.h"

namespace demask {
namespace {

template <typename Weights>
at::Tensor& part_of(Weights& weights, bool is_bias) {
  return is_bias ? weights.bias : weights.weight;
}

}  // namespace

AdjustmentOf adjustments(const Family& family, const std::string& prefix, ReadTensor read) {
  if (&family == &mdlm_family()) {
    return mdlm_adjustments(prefix, std::move(read));
  }
  return [](const PlannedTensor&) { return Adjustment(); };
}

NamedTensors extra_tensors(const Family& family, const TransformerWeights& weights) {
  return &family == &mdlm_family() ? mdlm_extra_tensors(weights) : NamedTensors();
}

at::Tensor& place_of(const PlannedTensor& planned, TransformerWeights& weights) {
  const auto layer = [&]() -> LayerWeights& { return weights.layers.at(static_cast<size_t>(planned.layer.value())); };
  switch (planned.role) {
    case TensorRole::token_embedding:
      return weights.token_embedding;
    case TensorRole::position_embedding:
      return weights.position_embedding;
    case TensorRole::attention_norm:
      return part_of(layer().attention_norm, planned.is_bias);
    case TensorRole::query_key_value:
      return part_of(layer().query_key_value, planned.is_bias);
    case TensorRole::query_norm:
      return part_of(layer().query_norm, planned.is_bias);
    case TensorRole::key_norm:
      return part_of(layer().key_norm, planned.is_bias);
    case TensorRole::attention_projection:
      return part_of(layer().attention_projection, planned.is_bias);
    case TensorRole::feed_forward_norm:
      return part_of(layer().feed_forward_norm, planned.is_bias);
    case TensorRole::expand:
      return part_of(layer().expand, planned.is_bias);
    case TensorRole::contract:
      return part_of(layer().contract, planned.is_bias);
    case TensorRole::final_norm:
      return part_of(weights.final_norm, planned.is_bias);
    case TensorRole::head:
      return part_of(weights.head, planned.is_bias);
  }
  fail(ExitCode::failed, "a planned tensor has no place");
}

}  // namespace demask
