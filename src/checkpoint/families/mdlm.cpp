// MDLM's diffusion transformer (Sahoo et al. 2024; DiT: Peebles and Xie 2023). Its norms and residual branches are
// shifted, scaled and gated by a linear map of the embedded time (adaLN). A model without time conditioning always gets
// time 0, so that these are constants: they become part of the norms and of the projections that the gates follow.
// https://github.com/kuleshov-group/mdlm (models/dit.py)
// Here are its configuration and its names; mdlm_tensors.cpp computes.
#include "checkpoint/families/mdlm.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"
#include "checkpoint/weight_plan.h"

namespace demask {
namespace {

constexpr int64_t expansion = 4;

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
  description.rotary_base = mdlm_rotary_base;
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

void adapt(const Architecture& architecture, const std::string& prefix, WeightPlan& plan) {
  const int64_t width = architecture.description.width;
  const int64_t condition = architecture.condition_width.value_or(1);
  const auto add_linear = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    plan.others.push_back({prefix + name + ".weight", {outputs, inputs}});
    plan.others.push_back({prefix + name + ".bias", {outputs}});
  };
  add_linear("sigma_map.mlp.0", condition, mdlm_time_features);
  add_linear("sigma_map.mlp.2", condition, condition);
  for (int64_t layer = 0; layer < architecture.description.layers; ++layer) {
    add_linear(fmt::format("blocks.{}.adaLN_modulation", layer), 6 * width, condition);
  }
  add_linear("output_layer.adaLN_modulation", 2 * width, condition);

  for (PlannedTensor& part : plan.tensors) {
    const bool norm = part.role == TensorRole::attention_norm || part.role == TensorRole::feed_forward_norm ||
                      part.role == TensorRole::final_norm;
    if (norm && part.is_bias) {
      part.slices.clear();  // the shift is the bias
    }
  }
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
  static const Family family{"mdlm", "mdlm", {"MDLM"}, mdlm_tensor_names(), read_mdlm_fields, write_mdlm_fields, adapt};
  return family;
}

}  // namespace demask
