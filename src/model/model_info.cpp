#include "model/model_info.h"

#include <fmt/format.h>

#include <utility>

namespace demask {
namespace {

std::string describe(const TransformerDescription& of) {
  const std::string grouped = of.key_value_heads != of.heads ? fmt::format(" ({} of keys)", of.key_value_heads) : "";
  return fmt::format("{}{} layers, {} heads{}, {} wide, {} positions, {}{}",
                     of.family == "nanogpt" ? "" : of.family + ", ", of.layers, of.heads, grouped, of.width,
                     of.rotary ? "rotary" : "absolute", of.bidirectional ? "bidirectional" : "causal",
                     of.binary_classification ? ", two-class" : "");
}

}  // namespace

ModelInfo info_of(const TransformerDescription& of, std::optional<std::string> dataset) {
  ModelInfo info;
  info.description = describe(of);
  info.output_size = of.outputs;
  info.input_size = of.vocabulary_size;
  info.block_size = of.block_size;
  info.causal = !of.bidirectional;
  info.keeps_cache = info.causal;
  info.keeps_blocks = true;
  info.bidirectional = of.bidirectional;
  info.mask_token_id = of.mask_token_id;
  info.binary_classification = of.binary_classification;
  info.dataset = std::move(dataset);
  return info;
}

}  // namespace demask
