// Forwards over a window of texts whose other positions' keys and values are kept.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "model/transformer.h"

namespace demask {

class TransformerBlockCache : public BlockCache {
 public:
  TransformerBlockCache(const Transformer& model, int64_t batch, int64_t length) : model_(model) {
    const c10::InferenceMode inference;
    const TransformerDescription& of = model.weights_.description;
    const at::TensorOptions options = model.weights_.token_embedding.options();
    for (int64_t layer = 0; layer < of.layers; ++layer) {
      cache_.keys.push_back(at::empty({batch, of.key_value_heads, length, of.head_width}, options));
      cache_.values.push_back(at::empty_like(cache_.keys.back()));
    }
    logits_ = at::zeros({batch, length, of.outputs}, options);
    first_ = at::zeros({1}, options.dtype(at::kLong));
  }

  void choose(const Window& window) override {
    const c10::InferenceMode inference;
    window_ = window;
    first_.fill_(window.first);
  }

  int64_t computed() const override { return computed_window(window_, shifted()).count; }

  at::Tensor logits(const at::Tensor& tokens, Extent extent) override {
    const c10::InferenceMode inference;
    if (extent == Extent::whole) {
      logits_.copy_(model_.head(model_.shifted_states(model_.hidden(tokens, &cache_))));
    } else {
      const at::Tensor offsets = at::arange(window_.count, first_.options());
      logits_.index_copy_(1, first_ + offsets, model_.head(window_states(tokens)));
    }
    return logits_;
  }

  at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions, Extent extent) override {
    const c10::InferenceMode inference;
    const at::Tensor all = logits(tokens, extent);
    return all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}));
  }

 private:
  bool shifted() const { return model_.weights_.description.shifted; }

  // The final hidden states [B, count, C] that the logits of the window's positions are made of. Which positions these
  // are is read from the device.
  at::Tensor window_states(const at::Tensor& tokens) const {
    const Window computed = computed_window(window_, shifted());
    Transformer::Cache cache = cache_;
    cache.positions = at::arange(computed.count, first_.options()) + first_ - (window_.first - computed.first);
    const at::Tensor states = model_.hidden(tokens.index_select(1, cache.positions), &cache);
    const bool has_one_before = computed.count > window_.count;
    return has_one_before ? states.narrow(1, 0, window_.count) : model_.shifted_states(states);
  }

  const Transformer& model_;
  Transformer::Cache cache_;
  Window window_;
  at::Tensor first_;   // [1] int64: the window's first position
  at::Tensor logits_;  // [B, T, V]
};

std::unique_ptr<BlockCache> Transformer::begin_blocks(int64_t batch, int64_t length) {
  if (on_cpu_) {
    return on_cpu_->begin_blocks(batch, length);
  }
  return std::make_unique<TransformerBlockCache>(*this, batch, length);
}

}  // namespace demask
