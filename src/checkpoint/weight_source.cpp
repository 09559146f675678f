#include "checkpoint/weight_source.h"

#include <utility>

namespace demask {
namespace {

class WeightsInMemory : public WeightSource {
 public:
  explicit WeightsInMemory(TransformerWeights weights)
      : weights_(std::move(weights)), options_(weights_.token_embedding.options()) {
    if (weights_.description.tied_head) {
      weights_.head.weight.reset();
    }
  }

  const TransformerDescription& description() const override { return weights_.description; }
  at::TensorOptions options() const override { return options_; }
  std::optional<std::string> dataset() const override { return weights_.dataset; }
  at::Tensor token_embedding() override { return std::exchange(weights_.token_embedding, {}); }
  at::Tensor token_embedding_rows(int64_t first, int64_t count) override {
    return weights_.token_embedding.narrow(0, first, count);
  }
  at::Tensor position_embedding() override { return std::exchange(weights_.position_embedding, {}); }
  LayerWeights layer(int64_t number) override {
    return std::exchange(weights_.layers[static_cast<size_t>(number)], {});
  }
  NormWeights final_norm() override { return std::exchange(weights_.final_norm, {}); }
  LinearWeights head() override { return std::exchange(weights_.head, {}); }

 private:
  TransformerWeights weights_;
  at::TensorOptions options_;
};

}  // namespace

std::unique_ptr<WeightSource> make_weight_source(TransformerWeights weights) {
  return std::make_unique<WeightsInMemory>(std::move(weights));
}

TransformerWeights read_all(WeightSource& source) {
  TransformerWeights weights;
  weights.description = source.description();
  weights.dataset = source.dataset();
  weights.token_embedding = source.token_embedding();
  weights.position_embedding = source.position_embedding();
  for (int64_t number = 0; number < weights.description.layers; ++number) {
    weights.layers.push_back(source.layer(number));
  }
  weights.final_norm = source.final_norm();
  weights.head = source.head();
  if (weights.description.tied_head) {
    weights.head.weight = weights.token_embedding;
  }
  return weights;
}

}  // namespace demask
