#include "demask/sampling/confidence.h"

#include <ATen/ATen.h>

namespace demask {
namespace {

// logits [B, T, V], tokens [B, T] -> [B]
at::Tensor mean_log_probability(const at::Tensor& logits, const at::Tensor& tokens) {
  return at::log_softmax(logits, -1).gather(2, tokens.unsqueeze(2)).squeeze(2).to(at::kDouble).mean(1);
}

}  // namespace

at::Tensor self_confidence(LanguageModel& model, const at::Tensor& tokens) {
  return mean_log_probability(model.logits(tokens), tokens);
}

at::Tensor next_token_confidence(LanguageModel& model, const at::Tensor& tokens) {
  const int64_t block = model.info().block_size;
  const int64_t length = tokens.size(1);
  const at::Tensor judged = block > 0 && length > block ? tokens.narrow(1, length - block, block) : tokens;
  const int64_t predicted = judged.size(1) - 1;
  if (predicted == 0) {
    return at::zeros({tokens.size(0)}, tokens.options().dtype(at::kDouble));
  }
  return mean_log_probability(model.logits(judged.narrow(1, 0, predicted)), judged.narrow(1, 1, predicted));
}

}  // namespace demask
