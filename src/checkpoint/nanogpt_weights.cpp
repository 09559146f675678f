#include "checkpoint/nanogpt_weights.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <functional>
#include <optional>
#include <utility>

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

struct Rows {
  int64_t first, count;
};

// All of a parameter, or some rows.
using Parameters = std::function<at::Tensor(const std::string& name, const std::optional<Rows>& rows)>;

class NanoGptSource : public WeightSource {
 public:
  NanoGptSource(const ModelArgs& args, std::optional<std::string> dataset, const at::TensorOptions& options,
                Parameters parameter)
      : description_(describe(args)),
        bias_(args.bias),
        dataset_(std::move(dataset)),
        options_(options),
        parameter_(std::move(parameter)) {}

  const TransformerDescription& description() const override { return description_; }
  at::TensorOptions options() const override { return options_; }
  std::optional<std::string> dataset() const override { return dataset_; }
  at::Tensor token_embedding() override { return parameter(token_embedding_name); }
  at::Tensor token_embedding_rows(int64_t first, int64_t count) override {
    return parameter_(token_embedding_name, Rows{first, count});
  }
  at::Tensor position_embedding() override {
    return description_.rotary ? at::Tensor() : parameter("transformer.wpe.weight");
  }
  LayerWeights layer(int64_t number) override {
    const std::string prefix = fmt::format("transformer.h.{}.", number);
    LayerWeights layer;
    layer.attention_norm = norm(prefix + "ln_1");
    layer.query_key_value = linear(prefix + "attn.c_attn");
    layer.attention_projection = linear(prefix + "attn.c_proj");
    layer.feed_forward_norm = norm(prefix + "ln_2");
    layer.expand = linear(prefix + "mlp.c_fc");
    layer.contract = linear(prefix + "mlp.c_proj");
    return layer;
  }
  NormWeights final_norm() override { return norm("transformer.ln_f"); }
  LinearWeights head() override { return {description_.tied_head ? at::Tensor() : parameter(head_name), {}}; }

 private:
  at::Tensor parameter(const std::string& name) const { return parameter_(name, std::nullopt); }
  at::Tensor bias(const std::string& name) const { return bias_ ? parameter(name + ".bias") : at::Tensor(); }
  LinearWeights linear(const std::string& name) const { return {parameter(name + ".weight"), bias(name)}; }
  NormWeights norm(const std::string& name) const { return {parameter(name + ".weight"), bias(name)}; }

  TransformerDescription description_;
  bool bias_;
  std::optional<std::string> dataset_;
  at::TensorOptions options_;
  Parameters parameter_;
};

}  // namespace

TransformerWeights nanogpt_weights(const NanoGptCheckpoint& checkpoint) {
  const auto parameter = [&](const std::string& name, const std::optional<Rows>& rows) {
    const at::Tensor& all = checkpoint.parameters.at(name);
    return rows ? all.narrow(0, rows->first, rows->count) : all;
  };
  NanoGptSource source(checkpoint.args, checkpoint.dataset, parameter(token_embedding_name, {}).options(), parameter);
  return read_all(source);
}

std::unique_ptr<WeightSource> open_nanogpt(const std::string& path, const at::TensorOptions& options) {
  const auto file = std::make_shared<const NanoGptFile>(path);
  const auto convert = [=](const at::Tensor& stored) { return stored.to(options); };
  const auto parameter = [=](const std::string& name, const std::optional<Rows>& rows) {
    return rows ? file->read_rows(name, rows->first, rows->count, convert) : file->read(name, convert);
  };
  return std::make_unique<NanoGptSource>(file->args(), file->dataset(), options, parameter);
}

}  // namespace demask
