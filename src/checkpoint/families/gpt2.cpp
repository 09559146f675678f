// GPT-2 (Radford et al. 2019), as transformers' GPT2LMHeadModel stores it: linear weights are [in, out].
#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

Architecture read_gpt2_fields(const ConfigReader& config) {
  check_common_fields(config);
  config.check(
      {{"scale_attn_weights", {"true"}, "scores of attention that are not scaled"},
       {"scale_attn_by_inverse_layer_idx", {"false"}, "scores of attention that are scaled by the layer's number"}});
  Architecture architecture;
  architecture.biases = {true, true, true, true, false};
  TransformerDescription& description = architecture.description;
  description.family = "gpt2";
  read_gpt_shape(config, description);
  description.feed_forward_width = config.optional_size("n_inner", 4 * max_width).value_or(4 * description.width);
  description.block_size = config.size("n_positions", max_length);
  description.vocabulary_size = description.outputs = config.size("vocab_size", max_length);
  description.norm_epsilon = config.number("layer_norm_epsilon", 0, 1);
  description.activation = config.activation("activation_function");
  description.mask_token_id = read_mask_token(config, description.outputs);
  architecture.tied_head = config.flag("tie_word_embeddings", true);
  return architecture;
}

nlohmann::ordered_json write_gpt2_fields(const Architecture& architecture) {
  const TransformerDescription& description = architecture.description;
  nlohmann::ordered_json config{{"n_layer", description.layers},
                                {"n_head", description.heads},
                                {"n_embd", description.width},
                                {"n_inner", description.feed_forward_width},
                                {"n_positions", description.block_size},
                                {"vocab_size", description.vocabulary_size},
                                {"layer_norm_epsilon", description.norm_epsilon},
                                {"activation_function", description.activation == Activation::gelu_tanh ? "gelu_new"
                                                        : description.activation == Activation::gelu    ? "gelu"
                                                                                                        : "silu"},
                                {"tie_word_embeddings", description.tied_head}};
  write_mask_token(config, description);
  return config;
}

TensorNames gpt2_tensor_names() {
  TensorNames names = gpt_names();
  names.prefixes = {"transformer.", ""};
  names.transposed = true;
  return names;
}

}  // namespace

const Family& gpt2_family() {
  static const Family family{"gpt2",           "gpt2",           {"GPT2LMHeadModel", "GPT2Model"}, gpt2_tensor_names(),
                             read_gpt2_fields, write_gpt2_fields};
  return family;
}

}  // namespace demask
