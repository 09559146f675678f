// MDLM's diffusion transformer (Sahoo et al. 2024; DiT: Peebles and Xie 2023). Its norms and residual branches are
// shifted, scaled and gated by a linear map of the embedded time (adaLN). A model without time conditioning always gets
// time 0, so that these are constants: they become part of the norms and of the projections that the gates follow.
// https://github.com/kuleshov-group/mdlm (models/dit.py)
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/hugging_face.h"
#include "checkpoint/weight_plan.h"

namespace demask {
namespace {

constexpr int64_t time_features = 256;
constexpr int64_t expansion = 4;
constexpr double rotary_base = 10000;

Architecture read_mdlm_fields(const ConfigReader& config) {
  check_common_fields(config);
  config.check({{"time_conditioning", {"false"}, "a model that is told the time"}});
  Architecture architecture;
  TransformerDescription& description = architecture.description;
  description.family = "mdlm";
  description.layers = config.size("n_blocks", max_layers);
  description.heads = description.key_value_heads = config.size("n_heads", max_width);
  description.width = config.size("hidden_dim", max_width);
  description.head_width = description.width / description.heads;
  if (description.width % description.heads != 0 || description.head_width % 2 != 0) {
    config.refuse(fmt::format("'hidden_dim' is {}, which {} heads ('n_heads') do not divide into even widths",
                              description.width, description.heads));
  }
  description.feed_forward_width = expansion * description.width;
  description.block_size = config.size("model_length", max_length);
  description.vocabulary_size = description.outputs = config.size("vocab_size", max_length, 2);
  description.activation = Activation::gelu_tanh;
  description.rotary = true;
  description.rotary_base = rotary_base;
  description.bidirectional = true;
  description.mask_token_id = description.outputs - 1;
  architecture.biases = {true, false, false, true, true};
  architecture.tied_head = false;
  architecture.condition_width = config.size("cond_dim", max_width);
  return architecture;
}

nlohmann::ordered_json write_mdlm_fields(const Architecture& architecture) {
  const TransformerDescription& description = architecture.description;
  return {{"n_blocks", description.layers},
          {"n_heads", description.heads},
          {"hidden_dim", description.width},
          {"cond_dim", architecture.condition_width.value_or(1)},
          {"model_length", description.block_size},
          {"vocab_size", description.vocabulary_size},
          {"dropout", 0.0},
          {"time_conditioning", false}};
}

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
      const at::Tensor half = at::ones({time_features / 2}, at::kDouble);
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
void modulate_norm(PlannedTensor& part, bool is_bias, const Constant& shift, const Constant& scale) {
  if (is_bias) {
    part.slices.clear();
    part.adjust = [shift](const at::Tensor&) { return shift().to(at::kFloat); };
  } else {
    part.adjust = [scale](const at::Tensor& weight) { return (weight.to(at::kDouble) * (scale() + 1)).to(at::kFloat); };
  }
}

// gate * (W x + b): each output's row
void gate_outputs(PlannedTensor& part, const Constant& gate) {
  part.adjust = [gate](const at::Tensor& tensor) {
    const at::Tensor factors = tensor.dim() == 2 ? gate().unsqueeze(1) : gate();
    return (tensor.to(at::kDouble) * factors).to(at::kFloat);
  };
}

void fold_modulations(PlannedTensor& part, const std::shared_ptr<Modulations>& modulations) {
  constexpr int64_t of_layer = 6, of_head = 2;
  const std::string module = part.layer ? fmt::format("blocks.{}.", *part.layer) : "output_layer.";
  const int64_t chunks = part.layer ? of_layer : of_head;
  const auto chunk = [&](int64_t number) -> Constant {
    return [=] { return modulations->chunk(module, number, chunks); };
  };
  switch (part.role) {
    case TensorRole::attention_norm:
    case TensorRole::final_norm:
      modulate_norm(part, part.is_bias, chunk(shift_attention), chunk(scale_attention));
      break;
    case TensorRole::feed_forward_norm:
      modulate_norm(part, part.is_bias, chunk(shift_feed_forward), chunk(scale_feed_forward));
      break;
    case TensorRole::attention_projection:
      gate_outputs(part, chunk(gate_attention));
      break;
    case TensorRole::contract:
      gate_outputs(part, chunk(gate_feed_forward));
      break;
    default:
      break;
  }
}

void adapt(const Architecture& architecture, const std::string& prefix, WeightPlan& plan) {
  const int64_t width = architecture.description.width;
  const int64_t condition = architecture.condition_width.value_or(1);
  const auto add_linear = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    plan.others.push_back({prefix + name + ".weight", {outputs, inputs}});
    plan.others.push_back({prefix + name + ".bias", {outputs}});
  };
  add_linear("sigma_map.mlp.0", condition, time_features);
  add_linear("sigma_map.mlp.2", condition, condition);
  for (int64_t layer = 0; layer < architecture.description.layers; ++layer) {
    add_linear(fmt::format("blocks.{}.adaLN_modulation", layer), 6 * width, condition);
  }
  add_linear("output_layer.adaLN_modulation", 2 * width, condition);

  const auto modulations = std::make_shared<Modulations>(plan.read, prefix);
  for (PlannedTensor& part : plan.tensors) {
    fold_modulations(part, modulations);
  }
}

// --- writing: a model whose modulation shifts as its norms' biases do, scales by 1 and has open gates, at any time ---

NamedTensors make_extra(const TransformerWeights& weights) {
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
  add_linear("sigma_map.mlp.0", time_features, at::zeros({1}, options));
  add_linear("sigma_map.mlp.2", 1, at::zeros({1}, options));
  const int64_t head_width = weights.description.head_width;
  const at::Tensor exponents = at::arange(0, head_width, 2, at::kDouble) / static_cast<double>(head_width);
  extra.emplace_back(prefix + "rotary_emb.inv_freq", at::pow(rotary_base, -exponents).to(at::kFloat));
  return extra;
}

TensorNames mdlm_tensor_names() {
  TensorNames names;
  names.prefixes = {"backbone.", ""};
  names.token_embedding = "vocab_embed.embedding";
  names.layers = "blocks";
  names.attention_norm = "norm1";
  names.query_key_value = {"attn_qkv"};
  names.attention_projection = "attn_out";
  names.feed_forward_norm = "norm2";
  names.expand = {"mlp.0"};
  names.contract = "mlp.2";
  names.final_norm = "output_layer.norm_final";
  names.head = "output_layer.linear";
  names.head_has_prefix = true;
  names.buffers = {"rotary_emb.inv_freq"};
  return names;
}

}  // namespace

const Family& mdlm_family() {
  static const Family family{"mdlm", "mdlm",    {"MDLM"}, mdlm_tensor_names(), read_mdlm_fields, write_mdlm_fields,
                             adapt,  make_extra};
  return family;
}

}  // namespace demask
