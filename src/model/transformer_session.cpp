// Decoding with a key-value cache.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "model/transformer.h"

namespace demask {
namespace {

// Of beginnings that are read together, so that what reading takes does not grow with the batch.
constexpr int64_t most_tokens_read = int64_t{1} << 14;
constexpr int64_t most_logits_read = int64_t{1} << 24;

}  // namespace

class CachedSession : public DecodingSession {
 public:
  CachedSession(const Transformer& model, GrowingText text) : model_(model), text_(std::move(text)) {
    const c10::InferenceMode inference;
    const TransformerDescription& of = model.weights_.description;
    const std::vector<int64_t> shape = {text_.tokens.size(0), of.key_value_heads,
                                        std::min(text_.tokens.size(1), of.block_size), of.head_width};
    for (int64_t layer = 0; layer < of.layers; ++layer) {
      cache_.keys.push_back(at::empty(shape, model.weights_.token_embedding.options()));
      cache_.values.push_back(at::empty(shape, model.weights_.token_embedding.options()));
    }
    if (model_.fused_ && !cache_.keys.empty()) {
      cache_.workspace = kernels::cuda::make_decode_workspace(cache_.keys.front(), of.heads);
    }
  }

  void restart(const Beginnings& beginnings, const OnLogits& on_logits) override {
    const c10::InferenceMode inference;
    length_ = beginnings.length;
    if (length_ == 1 && model_.fused_) {
      cache_.length = 0;  // the step that reads the tokens to come reads this one too
      return;
    }
    const at::Tensor tokens =
        beginnings.of(text_.tokens).narrow(1, 0, std::min(beginnings.length, model_.info_.block_size));
    const at::Tensor last = read(tokens, on_logits);
    cache_.length = tokens.size(1);
    for (const std::vector<at::Tensor>* tensors : {&cache_.keys, &cache_.values}) {
      for (const at::Tensor& each : *tensors) {
        beginnings.spread(each.narrow(2, 0, cache_.length));
      }
    }
    after_beginning_ = beginnings.for_each_text(last);
  }

  at::Tensor next_logits() override {
    const c10::InferenceMode inference;
    if (cache_.length == length_) {
      return after_beginning_;
    }
    if (one_by_kernels()) {
      return model_.logits_of_last(text_, cache_);
    }
    const at::Tensor hidden =
        outgrown() ? model_.hidden(last_tokens(text_, model_.info_.block_size), nullptr)
                   : model_.hidden(text_.tokens.narrow(1, cache_.length, length_ - cache_.length), &cache_);
    return model_.head(hidden.narrow(1, hidden.size(1) - 1, 1)).squeeze(1);
  }

  void advance() override {
    cache_.length = length_;
    ++length_;
  }

  int64_t phase() const override { return outgrown() ? 1 : one_by_kernels() ? 0 : -1; }

 private:
  bool outgrown() const { return length_ > model_.info_.block_size; }
  bool one_by_kernels() const { return model_.fused_ && !outgrown() && cache_.length + 1 == length_; }

  // tokens [G, T] -> the logits [G, V] after them, with their keys and values in the first G texts of the cache.
  at::Tensor read(const at::Tensor& tokens, const OnLogits& on_logits) const {
    std::vector<at::Tensor> last;
    for_slices(tokens.size(0), tokens.size(1), std::max(most_tokens_read, tokens.size(1)), [&](const Slice& texts) {
      Transformer::Cache own;
      for (size_t layer = 0; layer < cache_.keys.size(); ++layer) {
        own.keys.push_back(cache_.keys[layer].narrow(0, texts.first_text, texts.texts));
        own.values.push_back(cache_.values[layer].narrow(0, texts.first_text, texts.texts));
      }
      const at::Tensor hidden = model_.hidden(texts.of(tokens), &own);
      for_slices(texts.texts, texts.positions, std::max<int64_t>(1, most_logits_read / model_.info_.output_size),
                 [&](const Slice& slice) {
                   on_logits({texts.first_text + slice.first_text, slice.texts, slice.first_position, slice.positions},
                             model_.head(slice.of(hidden)));
                 });
      last.push_back(model_.head(hidden.narrow(1, hidden.size(1) - 1, 1)).squeeze(1));
    });
    return at::cat(last);
  }

  const Transformer& model_;
  GrowingText text_;
  int64_t length_ = 0;
  Transformer::Cache cache_;
  at::Tensor after_beginning_;  // [B, V]
};

std::unique_ptr<DecodingSession> Transformer::begin(const GrowingText& text) {
  if (info_.bidirectional) {
    return LanguageModel::begin(text);
  }
  if (on_cpu_) {
    return on_cpu_->begin(text);
  }
  return std::make_unique<CachedSession>(*this, text);
}

}  // namespace demask
