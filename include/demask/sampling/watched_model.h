// A model that counts its forwards and remembers whether its logits were ever unusable, without asking the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "demask/model/language_model.h"

namespace demask {

class WatchedModel : public LanguageModel {
 public:
  // `name` is what messages call the model, its checkpoint's path for example.
  WatchedModel(LanguageModel& model, std::string name);

  const ModelInfo& info() const override { return model_.info(); }
  at::Device device() const override { return model_.device(); }
  at::Tensor logits(const at::Tensor& tokens) override;
  std::unique_ptr<DecodingSession> begin(int64_t batch, int64_t max_length) override;

  int64_t forwards() const { return forwards_; }

  // Throws Error(failed) if any row of logits since the last check had a NaN, +infinity, or nothing above -infinity.
  // Waits for the device.
  void check();

  // Records one forward and its logits [..., V].
  void record(const at::Tensor& logits);

 private:
  LanguageModel& model_;
  std::string name_;
  int64_t forwards_ = 0;
  at::Tensor broken_;  // bool scalar on the device
};

}  // namespace demask
