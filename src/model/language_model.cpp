#include "demask/model/language_model.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace demask {
namespace {

// Runs the whole context again for every append, cropped to the block size.
class RecomputingSession : public DecodingSession {
 public:
  RecomputingSession(LanguageModel& model, int64_t batch, int64_t max_length)
      : model_(model), context_(at::empty({batch, max_length}, at::TensorOptions(at::kLong).device(model.device()))) {}

  at::Tensor append(const at::Tensor& tokens) override {
    context_.narrow(1, length_, tokens.size(1)).copy_(tokens);
    length_ += tokens.size(1);
    const int64_t block = model_.info().block_size;
    const int64_t seen = block > 0 ? std::min(length_, block) : length_;
    return model_.logits(context_.narrow(1, length_ - seen, seen)).select(1, -1);
  }

 private:
  LanguageModel& model_;
  at::Tensor context_;
  int64_t length_ = 0;
};

}  // namespace

std::unique_ptr<DecodingSession> LanguageModel::begin(int64_t batch, int64_t max_length) {
  return std::make_unique<RecomputingSession>(*this, batch, max_length);
}

}  // namespace demask
