#include "model/language_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace demask {
namespace {

constexpr int64_t most_logits = int64_t{1} << 24;  // that on_logits gets at once

// Runs the whole context again for every token, cropped to the block size.
class RecomputingSession : public DecodingSession {
 public:
  RecomputingSession(LanguageModel& model, GrowingText text) : model_(model), text_(std::move(text)) {}

  void restart(const Beginnings& beginnings, const OnLogits& on_logits) override {
    length_ = beginnings.length;
    after_beginning_ = at::Tensor();
    const ModelInfo& info = model_.info();
    if (!info.causal || !info.every_position) {
      return;
    }
    const at::Tensor tokens = beginnings.of(text_.tokens);
    const at::Tensor logits =
        model_.logits(outgrown() ? tokens.narrow(1, 0, info.block_size) : tokens);  // [G, T, V], as in every step
    for_slices(logits.size(0), logits.size(1), std::max<int64_t>(1, most_logits / logits.size(2)),
               [&](const Slice& slice) { on_logits(slice, slice.of(logits)); });
    if (!outgrown()) {
      after_beginning_ = beginnings.for_each_text(logits.select(1, -1));
    }
  }

  at::Tensor next_logits() override {
    if (after_beginning_.defined()) {
      return after_beginning_;
    }
    const at::Tensor tokens =
        outgrown() ? last_tokens(text_, model_.info().block_size) : text_.tokens.narrow(1, 0, length_);
    if (!model_.info().every_position) {
      return model_.logits(tokens).select(1, -1);
    }
    return model_.logits_at(tokens, at::full({tokens.size(0), 1}, tokens.size(1) - 1, tokens.options())).select(1, 0);
  }

  void advance() override {
    ++length_;
    after_beginning_ = at::Tensor();
  }

  int64_t phase() const override { return outgrown() ? 0 : -1; }

 private:
  bool outgrown() const { return model_.info().block_size > 0 && length_ > model_.info().block_size; }

  LanguageModel& model_;
  GrowingText text_;
  int64_t length_ = 0;
  at::Tensor after_beginning_;  // [B, V], as long as the texts are no longer than what was read
};

}  // namespace

at::Tensor last_tokens(const GrowingText& text, int64_t count) {
  const at::Tensor back = at::arange(count - 1, -1, -1, text.position.options());
  return text.tokens.index_select(1, (text.position - back).clamp_min(0));
}

at::Tensor Beginnings::of(const at::Tensor& tokens) const {
  const at::Tensor all = tokens.narrow(1, 0, length);
  return different.defined() ? all.index_select(0, different) : all;
}

at::Tensor Beginnings::for_each_text(const at::Tensor& x) const {
  return place.defined() ? x.index_select(0, place) : x;
}

void Beginnings::spread(const at::Tensor& x) const {
  if (place.defined()) {
    x.copy_(x.narrow(0, 0, different.size(0)).index_select(0, place));
  }
}

at::Tensor Slice::of(const at::Tensor& x) const {
  return x.narrow(0, first_text, texts).narrow(1, first_position, positions);
}

void for_slices(int64_t texts, int64_t positions, int64_t most_rows, const std::function<void(const Slice&)>& work) {
  const int64_t texts_each = std::max<int64_t>(1, most_rows / positions),
                positions_each = std::min(positions, most_rows);
  for (int64_t text = 0; text < texts; text += texts_each) {
    for (int64_t position = 0; position < positions; position += positions_each) {
      work({text, std::min(texts_each, texts - text), position, std::min(positions_each, positions - position)});
    }
  }
}

void DecodingSession::restart(int64_t length) {
  restart({length, {}, {}}, [](const Slice& /*slice*/, const at::Tensor& /*logits*/) {});
}

at::Tensor LanguageModel::logits_at(const at::Tensor& tokens, const at::Tensor& positions) {
  const at::Tensor all = logits(tokens);
  return all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}));
}

at::Tensor LanguageModel::log_probability_at(const at::Tensor& /*tokens*/, const at::Tensor& /*positions*/,
                                             const at::Tensor& /*ids*/, const at::Tensor& /*broken*/) {
  TORCH_INTERNAL_ASSERT(false, "a model that judges no tokens was asked to");
}

std::unique_ptr<DecodingSession> LanguageModel::begin(const GrowingText& text) {
  return std::make_unique<RecomputingSession>(*this, text);
}

}  // namespace demask
