#include "checkpoint/families/mdlm_tensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <utility>

#include "checkpoint/families/mdlm.h"

namespace demask {
namespace {

// --- reading ---

// Chunks of a layer's modulation, in the order of the checkpoint.
enum Chunk {
  shift_attention,
  scale_attention,
  gate_attention,
  shift_feed_forward,
  scale_feed_forward,
  gate_feed_forward
};

// What the modulations are at time 0, computed in float64 when they are first asked for.
class Modulations {
 public:
  Modulations(ReadTensor read, std::string prefix) : read_(std::move(read)), prefix_(std::move(prefix)) {}

  // [C] in float64. `module` is "blocks.3." or "output_layer.".
  at::Tensor chunk(const std::string& module, int64_t number, int64_t chunks) {
    if (module != module_) {
      module_ = module;
      values_ = linear(module + "adaLN_modulation", condition());
    }
    return values_.chunk(chunks)[static_cast<size_t>(number)];
  }

 private:
  at::Tensor linear(const std::string& name, const at::Tensor& input) const {
    const auto tensor = [&](const char* end) { return read_(prefix_ + name + end).to(at::kDouble); };
    return tensor(".weight").mv(input) + tensor(".bias");
  }

  // silu of the embedding of time 0, whose features are the cosines and then the sines of 0.
  const at::Tensor& condition() {
    if (!condition_.defined()) {
      const at::Tensor half = at::ones({mdlm_time_features / 2}, at::kDouble);
      const at::Tensor features = at::cat({half, at::zeros_like(half)});
      const at::Tensor hidden = at::silu(linear("sigma_map.mlp.0", features));
      condition_ = at::silu(linear("sigma_map.mlp.2", hidden));
    }
    return condition_;
  }

  ReadTensor read_;
  std::string prefix_;
  std::string module_;
  at::Tensor values_;
  at::Tensor condition_;
};

using Constant = std::function<at::Tensor()>;

// norm(x) * weight * (1 + scale) + shift
Adjustment modulate_norm(bool is_bias, const Constant& shift, const Constant& scale) {
  if (is_bias) {
    return [shift](const at::Tensor&) { return shift().to(at::kFloat); };
  }
  return [scale](const at::Tensor& weight) { return (weight.to(at::kDouble) * (scale() + 1)).to(at::kFloat); };
}

// gate * (W x + b): each output's row
Adjustment gate_outputs(const Constant& gate) {
  return [gate](const at::Tensor& tensor) {
    const at::Tensor factors = tensor.dim() == 2 ? gate().unsqueeze(1) : gate();
    return (tensor.to(at::kDouble) * factors).to(at::kFloat);
  };
}

Adjustment fold_modulations(const PlannedTensor& part, const std::shared_ptr<Modulations>& modulations) {
  constexpr int64_t of_layer = 6, of_head = 2;
  const std::string module = part.layer ? fmt::format("blocks.{}.", *part.layer) : "output_layer.";
  const int64_t chunks = part.layer ? of_layer : of_head;
  const auto chunk = [&](int64_t number) -> Constant {
    return [=] { return modulations->chunk(module, number, chunks); };
  };
  switch (part.role) {
    case TensorRole::attention_norm:
    case TensorRole::final_norm:
      return modulate_norm(part.is_bias, chunk(shift_attention), chunk(scale_attention));
    case TensorRole::feed_forward_norm:
      return modulate_norm(part.is_bias, chunk(shift_feed_forward), chunk(scale_feed_forward));
    case TensorRole::attention_projection:
      return gate_outputs(chunk(gate_attention));
    case TensorRole::contract:
      return gate_outputs(chunk(gate_feed_forward));
    default:
      return {};
  }
}

}  // namespace

AdjustmentOf mdlm_adjustments(const std::string& prefix, ReadTensor read) {
  const auto modulations = std::make_shared<Modulations>(std::move(read), prefix);
  return [modulations](const PlannedTensor& part) { return fold_modulations(part, modulations); };
}

// --- writing: a model whose modulation shifts as its norms' biases do, scales by 1 and has open gates, at any time ---

NamedTensors mdlm_extra_tensors(const TransformerWeights& weights) {
  const std::string prefix = "backbone.";
  const at::TensorOptions options = weights.token_embedding.options().device(at::kCPU);
  const int64_t width = weights.description.width;
  NamedTensors extra;
  const auto add_linear = [&](const std::string& name, int64_t inputs, const at::Tensor& bias) {
    extra.emplace_back(prefix + name + ".weight", at::zeros({bias.size(0), inputs}, options));
    extra.emplace_back(prefix + name + ".bias", bias);
  };
  const at::Tensor zeros = at::zeros({width}, options);
  const at::Tensor ones = at::ones({width}, options);
  const auto shift = [&](const NormWeights& norm) { return norm.bias.to(options.device()); };
  for (size_t number = 0; number < weights.layers.size(); ++number) {
    const LayerWeights& layer = weights.layers[number];
    add_linear(fmt::format("blocks.{}.adaLN_modulation", number), 1,
               at::cat({shift(layer.attention_norm), zeros, ones, shift(layer.feed_forward_norm), zeros, ones}));
  }
  add_linear("output_layer.adaLN_modulation", 1, at::cat({shift(weights.final_norm), zeros}));
  add_linear("sigma_map.mlp.0", mdlm_time_features, at::zeros({1}, options));
  add_linear("sigma_map.mlp.2", 1, at::zeros({1}, options));
  const int64_t head_width = weights.description.head_width;
  const at::Tensor exponents = at::arange(0, head_width, 2, at::kDouble) / static_cast<double>(head_width);
  extra.emplace_back(prefix + "rotary_emb.inv_freq", at::pow(mdlm_rotary_base, -exponents).to(at::kFloat));
  return extra;
}

}  // namespace demask
