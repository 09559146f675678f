// nanoGPT's models and their diffusion variants, as --export writes them: the fields are model_args' and the names
// those of its state dict. https://github.com/karpathy/nanoGPT (model.py)
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/families/shared_fields.h"

namespace demask {
namespace {

Architecture read_nanogpt_fields(const ConfigReader& config) {
  check_common_fields(config);
  Architecture architecture;
  TransformerDescription& description = architecture.description;
  description.family = "nanogpt";
  read_gpt_shape(config, description);
  description.feed_forward_width = 4 * description.width;
  description.block_size = config.size("block_size", max_length);
  description.vocabulary_size = config.size("vocab_size", max_length);
  description.bidirectional = config.is_other("attention_type", "causal", "bidirectional");
  description.rotary = config.is_other("position_encoding", "absolute", "rotary");
  if (description.rotary && description.head_width % 2 != 0) {
    config.refuse(
        fmt::format("rotary positions need an even head size, not n_embd / n_head = {}", description.head_width));
  }
  description.binary_classification = config.flag("binary_classification", false);
  description.outputs = description.binary_classification ? 2 : description.vocabulary_size;
  description.mask_token_id = read_mask_token(config, description.vocabulary_size);
  const bool bias = config.flag("bias", true);
  architecture.biases = {bias, bias, bias, bias, false};
  architecture.tied_head = description.binary_classification ? false : config.optional_flag("tie_word_embeddings");
  architecture.dataset = config.optional_text("dataset");
  return architecture;
}

nlohmann::ordered_json write_nanogpt_fields(const Architecture& architecture) {
  const TransformerDescription& description = architecture.description;
  nlohmann::ordered_json config{{"n_layer", description.layers},
                                {"n_head", description.heads},
                                {"n_embd", description.width},
                                {"block_size", description.block_size},
                                {"vocab_size", description.vocabulary_size},
                                {"bias", architecture.biases.norms},
                                {"attention_type", description.bidirectional ? "bidirectional" : "causal"},
                                {"position_encoding", description.rotary ? "rotary" : "absolute"},
                                {"binary_classification", description.binary_classification},
                                {"tie_word_embeddings", description.tied_head}};
  write_mask_token(config, description);
  if (architecture.dataset) {
    config["dataset"] = *architecture.dataset;
  }
  return config;
}

}  // namespace

const Family& nanogpt_family() {
  static const Family family{"nanogpt", "nanogpt", {"GPT"}, gpt_names(), read_nanogpt_fields, write_nanogpt_fields};
  return family;
}

}  // namespace demask
