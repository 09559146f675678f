// LLaDA (Nie et al. 2025), whose code and field names are OLMo's (Groeneveld et al. 2024).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

void check_fields(const ConfigReader& config) {
  check_common_fields(config);
  config.check({{"alibi", {"false"}, "biases of attention by distance"},
                {"rope", {"true"}, "positions that are not rotary"},
                {"attention_layer_norm", {"false"}, "norms of queries and keys"},
                {"layer_norm_with_affine", {"true"}, "norms without weights"},
                {"bias_for_layer_norm", {"false"}, "norms with biases"},
                {"layer_norm_type", {"\"rms\""}, "another norm than RMSNorm"},
                {"block_type", {"\"llama\""}, "layers of another kind"},
                {"block_group_size", {"1"}, "layers in groups"},
                {"activation_type", {"\"silu\"", "\"gelu\""}, "another activation"},
                {"clip_qkv", {}, "queries, keys and values that are clipped"},
                {"input_emb_norm", {"false"}, "embeddings that are scaled"},
                {"scale_logits", {"false"}, "logits that are scaled"}});
}

// As OLMo resolves its two fields.
int64_t read_key_value_heads(const ConfigReader& config, int64_t heads) {
  const std::optional<bool> shared = config.optional_flag("multi_query_attention");
  const std::optional<int64_t> given = config.optional_size("n_kv_heads", max_width);
  const int64_t implied = shared.value_or(false) ? 1 : heads;
  if (given && shared && *given != implied) {
    config.refuse(
        fmt::format("'n_kv_heads' is {}, but 'multi_query_attention' is {}, which means {}", *given, *shared, implied));
  }
  const int64_t key_value_heads = given.value_or(implied);
  if (heads % key_value_heads != 0) {
    config.refuse(fmt::format("'n_heads' is {}, not a multiple of 'n_kv_heads', {}", heads, key_value_heads));
  }
  return key_value_heads;
}

int64_t read_rows(const ConfigReader& config) {
  const int64_t tokens = config.size("vocab_size", max_length);
  const int64_t rows = config.optional_size("embedding_size", max_length).value_or(tokens);
  if (rows < tokens) {
    config.refuse(fmt::format("'embedding_size' is {}, less than 'vocab_size', {}", rows, tokens));
  }
  return rows;
}

Architecture read_llada_fields(const ConfigReader& config) {
  check_fields(config);
  Architecture architecture;
  TransformerDescription& description = architecture.description;
  description.family = "llada";
  description.layers = config.size("n_layers", max_layers);
  description.heads = config.size("n_heads", max_width);
  description.key_value_heads = read_key_value_heads(config, description.heads);
  description.width = config.size("d_model", max_width);
  description.head_width = description.width / description.heads;
  if (description.width % description.heads != 0 || description.head_width % 2 != 0) {
    config.refuse(fmt::format("'d_model' is {}, which {} heads ('n_heads') do not divide into even widths",
                              description.width, description.heads));
  }
  const std::optional<int64_t> hidden = config.optional_size("mlp_hidden_size", max_width);
  description.feed_forward_width = hidden ? *hidden : config.size("mlp_ratio", 1024) * description.width;
  description.block_size = config.size("max_sequence_length", max_length);
  description.vocabulary_size = description.outputs = read_rows(config);
  description.norm = NormKind::rms;
  description.norm_epsilon = config.number("rms_norm_eps", 0, 1);
  description.activation = config.activation("activation_type");
  description.gated = true;
  description.rotary = true;
  description.rotary_base = config.number("rope_theta", 1, 1e12);
  description.bidirectional = true;
  description.mask_token_id = read_mask_token(config, description.outputs);
  const bool all = config.flag("include_bias", false);
  architecture.biases = {false, all || config.flag("include_qkv_bias", false), all, all, all};
  architecture.tied_head = config.optional_flag("weight_tying");
  if (architecture.tied_head.value_or(false)) {
    architecture.biases.head = false;
  }
  return architecture;
}

nlohmann::ordered_json write_llada_fields(const Architecture& architecture) {
  const TransformerDescription& description = architecture.description;
  nlohmann::ordered_json config{{"d_model", description.width},
                                {"n_heads", description.heads},
                                {"n_kv_heads", description.key_value_heads},
                                {"multi_query_attention", nullptr},
                                {"n_layers", description.layers},
                                {"mlp_ratio", 4},
                                {"mlp_hidden_size", description.feed_forward_width},
                                {"max_sequence_length", description.block_size},
                                {"vocab_size", description.vocabulary_size},
                                {"embedding_size", description.outputs},
                                {"activation_type", description.activation == Activation::silu ? "silu" : "gelu"},
                                {"block_type", "llama"},
                                {"block_group_size", 1},
                                {"layer_norm_type", "rms"},
                                {"layer_norm_with_affine", true},
                                {"attention_layer_norm", false},
                                {"bias_for_layer_norm", false},
                                {"rms_norm_eps", description.norm_epsilon},
                                {"rope", true},
                                {"rope_full_precision", true},
                                {"rope_theta", description.rotary_base},
                                {"alibi", false},
                                {"include_bias", architecture.biases.feed_forward},
                                {"include_qkv_bias", architecture.biases.query_key_value},
                                {"input_emb_norm", false},
                                {"scale_logits", false},
                                {"weight_tying", description.tied_head}};
  write_mask_token(config, description);
  return config;
}

TensorNames llada_tensor_names() {
  TensorNames names;
  names.prefixes = {"model.transformer.", "transformer."};
  names.token_embedding = "wte.weight";
  names.layers = "blocks";
  names.attention_norm = "attn_norm";
  names.query_key_value = {"q_proj", "k_proj", "v_proj"};
  names.attention_projection = "attn_out";
  names.feed_forward_norm = "ff_norm";
  names.expand = {"ff_proj", "up_proj"};
  names.contract = "ff_out";
  names.final_norm = "ln_f";
  names.head = "ff_out";
  names.head_has_prefix = true;
  names.buffers = {"rotary_emb.inv_freq"};
  return names;
}

}  // namespace

const Family& llada_family() {
  static const Family family{"llada",           "llada",           {"LLaDAModelLM"}, llada_tensor_names(),
                             read_llada_fields, write_llada_fields};
  return family;
}

}  // namespace demask
