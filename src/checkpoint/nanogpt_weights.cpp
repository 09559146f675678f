#include "checkpoint/nanogpt_weights.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <functional>
#include <optional>
#include <utility>

namespace demask {
namespace {

using Parameters = std::function<at::Tensor(const std::string& name)>;

class NanoGptSource : public WeightSource {
 public:
  NanoGptSource(const ModelArgs& args, std::optional<std::string> dataset, const at::TensorOptions& options,
                Parameters parameter)
      : description_(description_of(args)),
        bias_(args.bias),
        dataset_(std::move(dataset)),
        options_(options),
        parameter_(std::move(parameter)) {}

  const TransformerDescription& description() const override { return description_; }
  at::TensorOptions options() const override { return options_; }
  std::optional<std::string> dataset() const override { return dataset_; }
  at::Tensor token_embedding() override { return parameter_(token_embedding_name); }
  at::Tensor position_embedding() override {
    return description_.rotary ? at::Tensor() : parameter_("transformer.wpe.weight");
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
  LinearWeights head() override { return {description_.tied_head ? at::Tensor() : parameter_(head_name), {}}; }

 private:
  at::Tensor bias(const std::string& name) const { return bias_ ? parameter_(name + ".bias") : at::Tensor(); }
  LinearWeights linear(const std::string& name) const { return {parameter_(name + ".weight"), bias(name)}; }
  NormWeights norm(const std::string& name) const { return {parameter_(name + ".weight"), bias(name)}; }

  TransformerDescription description_;
  bool bias_;
  std::optional<std::string> dataset_;
  at::TensorOptions options_;
  Parameters parameter_;
};

}  // namespace

TransformerWeights nanogpt_weights(const NanoGptCheckpoint& checkpoint) {
  const auto parameter = [&](const std::string& name) { return checkpoint.parameters.at(name); };
  NanoGptSource source(checkpoint.args, checkpoint.dataset, parameter(token_embedding_name).options(), parameter);
  return read_all(source);
}

std::unique_ptr<WeightSource> open_nanogpt(const std::string& path, const at::TensorOptions& options) {
  const auto file = std::make_shared<const NanoGptFile>(path);
  return std::make_unique<NanoGptSource>(file->args(), file->dataset(), options, [=](const std::string& name) {
    return file->read(name, [&](const at::Tensor& stored) { return stored.to(options); });
  });
}

}  // namespace demask
