// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama's parts, with biases of queries, keys and values.
#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

Architecture read_qwen2_fields(const ConfigReader& config) {
  Architecture architecture = read_llama_config(config, "qwen2");
  check_sliding_window(config, architecture.description.block_size);
  architecture.biases.query_key_value = true;
  return architecture;
}

}  // namespace

const Family& qwen2_family() {
  static const Family family{"qwen2",       "qwen2",           {"Qwen2ForCausalLM"},
                             llama_names(), read_qwen2_fields, write_llama_config};
  return family;
}

}  // namespace demask
