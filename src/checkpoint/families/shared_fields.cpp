#include "checkpoint/families/shared_fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"

namespace demask {
namespace {

using nlohmann::ordered_json;

constexpr double largest_base = 1e12;
constexpr double largest_factor = 1e6;

std::optional<RotaryScaling> read_scaling(const ConfigReader& config) {
  const char* key = config.has("rope_type") || !config.has("type") ? "rope_type" : "type";
  const std::string type = config.optional_text(key).value_or("default");
  if (type == "default") {
    return std::nullopt;
  }
  if (type != "llama3") {
    config.refuse_value(key, "\"default\" or \"llama3\", the only scaling of rotary positions that demask computes");
  }
  RotaryScaling scaling;
  scaling.factor = config.number("factor", 0, largest_factor);
  scaling.low_frequency_factor = config.number("low_freq_factor", 0, largest_factor);
  scaling.high_frequency_factor = config.number("high_freq_factor", scaling.low_frequency_factor, largest_factor);
  scaling.original_positions = config.size("original_max_position_embeddings", max_length);
  return scaling;
}

// Written as 'rope_theta' and 'rope_scaling', and from transformers 5 on as 'rope_parameters'. The base is 10000 where
// it is left out, as in Llama's first files.
void read_rotary(const ConfigReader& config, TransformerDescription& description) {
  const std::optional<ConfigReader> parameters = config.inner("rope_parameters");
  const ConfigReader& base = parameters && parameters->has("rope_theta") ? *parameters : config;
  description.rotary = true;
  if (base.has("rope_theta")) {
    description.rotary_base = base.number("rope_theta", 1, largest_base);
  }
  const std::optional<ConfigReader> scaling = parameters ? parameters : config.inner("rope_scaling");
  if (scaling) {
    scaling->check({{"partial_rotary_factor", {"1"}, "rotary positions in a part of each head"}});
    description.rotary_scaling = read_scaling(*scaling);
  }
  if (description.head_width % 2 != 0) {
    config.refuse(fmt::format("rotary positions need an even width of heads, not {}", description.head_width));
  }
}

void read_heads(const ConfigReader& config, TransformerDescription& description) {
  description.heads = config.size("num_attention_heads", max_width);
  description.key_value_heads = config.optional_size("num_key_value_heads", max_width).value_or(description.heads);
  if (description.heads % description.key_value_heads != 0) {
    config.refuse(fmt::format("'num_attention_heads' is {}, not a multiple of 'num_key_value_heads', {}",
                              description.heads, description.key_value_heads));
  }
  const std::optional<int64_t> head_width = config.optional_size("head_dim", max_width);
  if (!head_width && description.width % description.heads != 0) {
    config.refuse(fmt::format("'hidden_size' is {}, not a multiple of 'num_attention_heads', {}", description.width,
                              description.heads));
  }
  description.head_width = head_width.value_or(description.width / description.heads);
}

}  // namespace

Architecture read_llama_config(const ConfigReader& config, const char* family) {
  check_common_fields(config);
  Architecture architecture;
  TransformerDescription& description = architecture.description;
  description.family = family;
  description.layers = config.size("num_hidden_layers", max_layers);
  description.width = config.size("hidden_size", max_width);
  description.feed_forward_width = config.size("intermediate_size", max_width);
  description.block_size = config.size("max_position_embeddings", max_length);
  description.vocabulary_size = description.outputs = config.size("vocab_size", max_length);
  description.norm = NormKind::rms;
  description.norm_epsilon = config.number("rms_norm_eps", 0, 1);
  description.activation = config.activation("hidden_act");
  description.gated = true;
  read_heads(config, description);
  read_rotary(config, description);
  description.mask_token_id = read_mask_token(config, description.outputs);
  architecture.tied_head = config.optional_flag("tie_word_embeddings");
  return architecture;
}

ordered_json write_llama_config(const Architecture& architecture) {
  const TransformerDescription& description = architecture.description;
  ordered_json config{{"hidden_size", description.width},
                      {"intermediate_size", description.feed_forward_width},
                      {"num_hidden_layers", description.layers},
                      {"num_attention_heads", description.heads},
                      {"num_key_value_heads", description.key_value_heads},
                      {"head_dim", description.head_width},
                      {"max_position_embeddings", description.block_size},
                      {"vocab_size", description.vocabulary_size},
                      {"rms_norm_eps", description.norm_epsilon},
                      {"hidden_act", description.activation == Activation::silu   ? "silu"
                                     : description.activation == Activation::gelu ? "gelu"
                                                                                  : "gelu_pytorch_tanh"},
                      {"rope_theta", description.rotary_base},
                      {"rope_scaling", nullptr},
                      {"tie_word_embeddings", description.tied_head}};
  if (const auto& scaling = description.rotary_scaling) {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", scaling->factor},
                              {"low_freq_factor", scaling->low_frequency_factor},
                              {"high_freq_factor", scaling->high_frequency_factor},
                              {"original_max_position_embeddings", scaling->original_positions}};
  }
  write_mask_token(config, description);
  return config;
}

TensorNames llama_names() {
  TensorNames names;
  names.prefixes = {"model.", ""};
  names.token_embedding = "embed_tokens.weight";
  names.layers = "layers";
  names.attention_norm = "input_layernorm";
  names.query_key_value = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  names.attention_projection = "self_attn.o_proj";
  names.feed_forward_norm = "post_attention_layernorm";
  names.expand = {"mlp.gate_proj", "mlp.up_proj"};
  names.contract = "mlp.down_proj";
  names.final_norm = "norm";
  names.head = "lm_head";
  names.buffers = {"rotary_emb.inv_freq"};
  return names;
}

TensorNames gpt_names() {
  TensorNames names;
  names.prefixes = {"transformer."};
  names.token_embedding = "wte.weight";
  names.position_embedding = "wpe.weight";
  names.layers = "h";
  names.attention_norm = "ln_1";
  names.query_key_value = {"attn.c_attn"};
  names.attention_projection = "attn.c_proj";
  names.feed_forward_norm = "ln_2";
  names.expand = {"mlp.c_fc"};
  names.contract = "mlp.c_proj";
  names.final_norm = "ln_f";
  names.head = "lm_head";
  names.buffers = {".attn.bias", ".attn.masked_bias"};  // masks
  return names;
}

void read_gpt_shape(const ConfigReader& config, TransformerDescription& description) {
  description.layers = config.size("n_layer", max_layers);
  description.heads = description.key_value_heads = config.size("n_head", max_width);
  description.width = config.size("n_embd", max_width);
  if (description.width % description.heads != 0) {
    config.refuse(fmt::format("'n_embd' is {}, not a multiple of 'n_head', {}", description.width, description.heads));
  }
  description.head_width = description.width / description.heads;
}

void check_sliding_window(const ConfigReader& config, int64_t block_size) {
  if (config.flag("use_sliding_window", false)) {
    const std::optional<int64_t> window = config.optional_size("sliding_window", max_length);
    if (window && *window < block_size) {
      config.refuse("'use_sliding_window' is true, which asks for attention in a window: demask does not compute that");
    }
  }
}

void check_common_fields(const ConfigReader& config) {
  constexpr std::string_view experts = "a mixture of experts";
  config.check({{"quantization_config", {}, "quantised weights"},
                {"attn_logit_softcapping", {}, "scores of attention that are capped"},
                {"final_logit_softcapping", {}, "logits that are capped"},
                {"partial_rotary_factor", {"1"}, "rotary positions in a part of each head"},
                {"num_experts", {"0", "1"}, experts},
                {"num_local_experts", {"0", "1"}, experts},
                {"is_encoder_decoder", {"false"}, "an encoder and a decoder"},
                {"add_cross_attention", {"false"}, "attention to another text"},
                {"parallel_residual", {"false"}, "attention and feed-forward side by side"}});
}

std::optional<int64_t> read_mask_token(const ConfigReader& config, int64_t outputs) {
  return config.optional_size("mask_token_id", outputs - 1, 0);
}

void write_mask_token(ordered_json& config, const TransformerDescription& description) {
  if (description.mask_token_id) {
    config["mask_token_id"] = *description.mask_token_id;
  }
}

}  // namespace demask
