// Llama (Touvron et al. 2023; Dubey et al. 2024), as transformers' LlamaForCausalLM stores it.
#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

Architecture read_llama_fields(const ConfigReader& config) {
  Architecture architecture = read_llama_config(config, "llama");
  const bool attention = config.flag("attention_bias", false);
  architecture.biases.query_key_value = architecture.biases.attention_projection = attention;
  architecture.biases.feed_forward = config.flag("mlp_bias", false);
  return architecture;
}

nlohmann::ordered_json write_llama_fields(const Architecture& architecture) {
  nlohmann::ordered_json config = write_llama_config(architecture);
  config["attention_bias"] = architecture.biases.query_key_value;
  config["mlp_bias"] = architecture.biases.feed_forward;
  return config;
}

}  // namespace

const Family& llama_family() {
  static const Family family{"llama",       "llama",           {"LlamaForCausalLM"},
                             llama_names(), read_llama_fields, write_llama_fields};
  return family;
}

}  // namespace demask
