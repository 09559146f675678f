// Forwards by the CPU kernels over a window of texts whose other positions' keys and values are kept.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "model/transformer_cpu.h"

namespace demask {

class CpuBlockCache : public BlockCache {
 public:
  CpuBlockCache(TransformerOnCpu& model, int64_t batch, int64_t length)
      : model_(model), batch_(batch), length_(length), cache_(model.make_cache(batch, length)) {}

  void choose(const Window& window) override { window_ = window; }

  int64_t computed() const override { return computed_window(window_, shifted()).count; }

  at::Tensor logits(const at::Tensor& tokens, Extent extent) override {
    const c10::InferenceMode inference;
    const Window wanted = extent == Extent::whole ? Window{0, length_} : window_;
    const at::Tensor positions = at::arange(wanted.first, wanted.first + wanted.count, at::kLong);
    if (!logits_.defined()) {
      logits_ = at::zeros({batch_, length_, model_.weights_.head.outputs}, at::kFloat);
    }
    logits_.narrow(1, wanted.first, wanted.count)
        .copy_(logits_at(tokens, positions.expand({tokens.size(0), wanted.count}), extent));
    return logits_;
  }

  at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions, Extent extent) override {
    const c10::InferenceMode inference;
    const Window computed = extent == Extent::whole ? Window{0, length_} : computed_window(window_, shifted());
    cache_.length = computed.first;
    cache_.kept = extent == Extent::whole ? 0 : length_;
    const at::Tensor rows = shifted() ? positions.sub(1).clamp_min(0) : positions;
    return model_.forward(tokens.narrow(1, computed.first, computed.count), rows.sub(computed.first), &cache_);
  }

 private:
  bool shifted() const { return model_.description_.shifted; }

  TransformerOnCpu& model_;
  int64_t batch_, length_;
  TransformerOnCpu::Cache cache_;
  Window window_;
  at::Tensor logits_;  // [B, T, V], made when somebody asks for all of them
};

std::unique_ptr<BlockCache> TransformerOnCpu::begin_blocks(int64_t batch, int64_t length) {
  const c10::InferenceMode inference;
  return std::make_unique<CpuBlockCache>(*this, batch, length);
}

}  // namespace demask
