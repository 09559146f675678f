// A model whose logits a test chose.
#pragma once

#include <ATen/ATen.h>

#include "model/language_model.h"

namespace demask::testing {

// Gives the same logits [T, V] for every sample, whatever the tokens; keeps the tokens it was asked about.
class FixedLogits : public LanguageModel {
 public:
  explicit FixedLogits(at::Tensor logits, bool causal = false) : logits_(std::move(logits)) {
    info_.output_size = logits_.size(1);
    info_.causal = causal;
  }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor logits(const at::Tensor& tokens) override {
    seen.push_back(tokens.clone());
    return logits_.narrow(0, 0, tokens.size(1)).unsqueeze(0).expand({tokens.size(0), tokens.size(1), logits_.size(1)});
  }

  std::vector<at::Tensor> seen;

 private:
  at::Tensor logits_;
  ModelInfo info_;
};

}  // namespace demask::testing
