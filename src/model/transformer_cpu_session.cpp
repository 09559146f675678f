// Decoding by the CPU kernels' transformer: one new token of each text at a time, with the keys and values of all
// before it.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "model/transformer_cpu.h"

namespace demask {

class CpuDecodingSession : public DecodingSession {
 public:
  CpuDecodingSession(TransformerOnCpu& model, GrowingText text)
      : model_(model),
        text_(std::move(text)),
        cache_(model.make_cache(text_.tokens.size(0), std::min(text_.tokens.size(1), model.description_.block_size))) {}

  void restart(const Beginnings& beginnings, const OnLogits& on_logits) override {
    const c10::InferenceMode inference;
    length_ = beginnings.length;
    const at::Tensor tokens =
        beginnings.of(text_.tokens).narrow(1, 0, std::min(beginnings.length, model_.description_.block_size));
    const at::Tensor last = model_.read(tokens, cache_, on_logits);
    cache_.length = tokens.size(1);
    model_.spread(cache_, cache_.length, beginnings);
    after_beginning_ = beginnings.for_each_text(last);
  }

  at::Tensor next_logits() override {
    const c10::InferenceMode inference;
    const int64_t block = model_.description_.block_size;
    if (length_ > block) {
      const at::Tensor last = at::full({text_.tokens.size(0), 1}, block - 1, at::kLong);
      return model_.forward_of_different(last_tokens(text_, block), last).squeeze(1);
    }
    if (cache_.length == length_) {
      return after_beginning_;
    }
    return model_.forward(text_.tokens.narrow(1, cache_.length, 1), {}, &cache_).squeeze(1);
  }

  void advance() override {
    cache_.length = length_;
    ++length_;
  }

  int64_t phase() const override { return -1; }

 private:
  TransformerOnCpu& model_;
  GrowingText text_;
  int64_t length_ = 0;
  TransformerOnCpu::Cache cache_;
  at::Tensor after_beginning_;  // [B, V]
};

TransformerOnCpu::Cache TransformerOnCpu::make_cache(int64_t texts, int64_t positions) const {
  Cache cache;
  cache.capacity = round_to_panels(positions);
  const int64_t all_heads = texts * key_heads();
  kernels::cpu::LargePages pages;
  // Written to at once: what a batch takes is measured while its texts are short.
  const auto take = [&](int64_t head_bytes) {
    return pages.take(all_heads * head_bytes).zero_().view({all_heads, head_bytes});
  };
  for (size_t layer = 0; layer < weights_.blocks.size(); ++layer) {
    cache.keys.push_back(take(key_bytes(cache.capacity)));
    cache.values.push_back(take(value_bytes(cache.capacity)));
  }
  return cache;
}

std::unique_ptr<DecodingSession> TransformerOnCpu::begin(const GrowingText& text) {
  return std::make_unique<CpuDecodingSession>(*this, text);
}

}  // namespace demask
