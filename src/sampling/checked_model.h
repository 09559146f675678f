// A model that remembers whether its logits were ever unusable, without asking the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "model/language_model.h"

namespace demask {

class CheckedModel : public LanguageModel {
 public:
  // `name` is what messages call the model, its checkpoint's path for example.
  CheckedModel(LanguageModel& model, std::string name);

  const ModelInfo& info() const override { return model_.info(); }
  at::Device device() const override { return model_.device(); }
  at::Tensor logits(const at::Tensor& tokens) override { return model_.logits(tokens); }
  at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions) override {
    return model_.logits_at(tokens, positions);
  }
  bool judges_tokens() const override { return model_.judges_tokens(); }
  at::Tensor log_probability_at(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& ids,
                                const at::Tensor& broken) override {
    return model_.log_probability_at(tokens, positions, ids, broken);
  }
  std::unique_ptr<DecodingSession> begin(const GrowingText& text) override { return model_.begin(text); }
  std::unique_ptr<BlockCache> begin_blocks(int64_t batch, int64_t length) override {
    return model_.begin_blocks(batch, length);
  }
  int64_t runs_before_recording() const override { return model_.runs_before_recording(); }

  // The model's name in messages.
  const std::string& name() const { return name_; }

  // [] bool on the device: set once a probability that came from the logits is not a number. Whoever turns logits into
  // probabilities sets it (see watch).
  const at::Tensor& broken() const { return broken_; }

  // Throws Error(failed) if the logits had a NaN, +infinity, or a row with nothing above -infinity, since the last
  // check. Waits for the device.
  void check() { check(broken_); }
  // The same of what `broken` was at some time, a copy on the host that has arrived.
  void check(const at::Tensor& broken_then);

 private:
  LanguageModel& model_;
  std::string name_;
  at::Tensor broken_;
};

// Sets `broken` where one of `values` is a NaN.
void watch(const at::Tensor& values, const at::Tensor& broken);

}  // namespace demask
