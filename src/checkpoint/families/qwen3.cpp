// Qwen3 (Yang et al. 2025): Llama's parts, with a norm of each head's queries and keys.
#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

Architecture read_qwen3_fields(const ConfigReader& config) {
  Architecture architecture = read_llama_config(config, "qwen3");
  check_sliding_window(config, architecture.description.block_size);
  architecture.query_key_norms = true;
  const bool attention = config.flag("attention_bias", false);
  architecture.biases.query_key_value = architecture.biases.attention_projection = attention;
  return architecture;
}

nlohmann::ordered_json write_qwen3_fields(const Architecture& architecture) {
  nlohmann::ordered_json config = write_llama_config(architecture);
  config["attention_bias"] = architecture.biases.query_key_value;
  return config;
}

TensorNames qwen3_tensor_names() {
  TensorNames names = llama_names();
  names.query_norm = "self_attn.q_norm";
  names.key_norm = "self_attn.k_norm";
  return names;
}

}  // namespace

const Family& qwen3_family() {
  static const Family family{"qwen3",           "qwen3",           {"Qwen3ForCausalLM"}, qwen3_tensor_names(),
                             read_qwen3_fields, write_qwen3_fields};
  return family;
}

}  // namespace demask
