#include "model/language_model.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace demask {
namespace {

// Runs the whole context again for every token, cropped to the block size.
class RecomputingSession : public DecodingSession {
 public:
  RecomputingSession(LanguageModel& model, GrowingText text) : model_(model), text_(std::move(text)) {}

  void restart(int64_t length) override { length_ = length; }

  at::Tensor next_logits() override {
    const int64_t block = model_.info().block_size;
    const bool cropped = block > 0 && length_ > block;
    return model_.logits(cropped ? last_tokens(text_, block) : text_.tokens.narrow(1, 0, length_)).select(1, -1);
  }

  void advance() override { ++length_; }

  int64_t phase() const override {
    const int64_t block = model_.info().block_size;
    return block > 0 && length_ > block ? 0 : -1;
  }

 private:
  LanguageModel& model_;
  GrowingText text_;
  int64_t length_ = 0;
};

}  // namespace

at::Tensor last_tokens(const GrowingText& text, int64_t count) {
  const at::Tensor back = at::arange(count - 1, -1, -1, text.position.options());
  return text.tokens.index_select(1, (text.position - back).clamp_min(0));
}

at::Tensor LanguageModel::logits_at(const at::Tensor& tokens, const at::Tensor& positions) {
  const at::Tensor all = logits(tokens);
  return all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}));
}

std::unique_ptr<DecodingSession> LanguageModel::begin(const GrowingText& text) {
  return std::make_unique<RecomputingSession>(*this, text);
}

}  // namespace demask
