#include "checkpoint/nanogpt_weights.h"

#include <fmt/format.h>

namespace demask {
namespace {

TransformerDescription describe(const ModelArgs& args) {
  TransformerDescription description;
  description.family = "nanogpt";
  description.layers = args.n_layer;
  description.heads = description.key_value_heads = args.n_head;
  description.head_width = args.n_embd / args.n_head;
  description.width = args.n_embd;
  description.feed_forward_width = 4 * args.n_embd;
  description.block_size = args.block_size;
  description.vocabulary_size = args.vocab_size;
  description.outputs = args.output_size();
  description.rotary = args.rotary;
  description.bidirectional = args.bidirectional;
  description.binary_classification = args.binary_classification;
  description.tied_head = args.tied_head;
  description.mask_token_id = args.mask_token_id;
  return description;
}

}  // namespace

TransformerWeights nanogpt_weights(const NanoGptCheckpoint& checkpoint) {
  const ModelArgs& args = checkpoint.args;
  const auto parameter = [&](const std::string& name) { return checkpoint.parameters.at(name); };
  const auto bias = [&](const std::string& name) { return args.bias ? parameter(name + ".bias") : at::Tensor(); };
  const auto linear = [&](const std::string& name) { return LinearWeights{parameter(name + ".weight"), bias(name)}; };
  const auto norm = [&](const std::string& name) { return NormWeights{parameter(name + ".weight"), bias(name)}; };

  TransformerWeights weights;
  weights.description = describe(args);
  weights.dataset = checkpoint.dataset;
  weights.token_embedding = parameter(token_embedding_name);
  if (!args.rotary) {
    weights.position_embedding = parameter("transformer.wpe.weight");
  }
  for (int64_t number = 0; number < args.n_layer; ++number) {
    const std::string prefix = fmt::format("transformer.h.{}.", number);
    LayerWeights layer;
    layer.attention_norm = norm(prefix + "ln_1");
    layer.query_key_value = linear(prefix + "attn.c_attn");
    layer.attention_projection = linear(prefix + "attn.c_proj");
    layer.feed_forward_norm = norm(prefix + "ln_2");
    layer.expand = linear(prefix + "mlp.c_fc");
    layer.contract = linear(prefix + "mlp.c_proj");
    weights.layers.push_back(layer);
  }
  weights.final_norm = norm("transformer.ln_f");
  weights.head = {args.tied_head ? weights.token_embedding : parameter(head_name), {}};
  return weights;
}

}  // namespace demask
