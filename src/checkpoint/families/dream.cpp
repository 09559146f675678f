// Dream (Ye et al. 2025): Qwen2.5's layers looking both ways, whose logits for a position stand at the one before it.
#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

Architecture read_dream_fields(const ConfigReader& config) {
  Architecture architecture = read_llama_config(config, "dream");
  check_sliding_window(config, architecture.description.block_size);
  architecture.biases.query_key_value = true;
  architecture.description.bidirectional = true;
  architecture.description.shifted = true;
  return architecture;
}

}  // namespace

const Family& dream_family() {
  static const Family family{"dream", "Dream", {"DreamModel"}, llama_names(), read_dream_fields, write_llama_config};
  return family;
}

}  // namespace demask
