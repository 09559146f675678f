#include "demask/sampling/confidence.h"

#include <ATen/ATen.h>

#include "demask/kernels/kernels.h"

namespace demask {
namespace {

// logits [B, T, V], tokens [B, T] -> [B]
at::Tensor mean_log_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  at::Tensor each;
  if (kernels::usable(logits)) {
    each = kernels::judge(logits, tokens, 0, /*logarithm=*/true, broken);
  } else {
    each = at::log_softmax(logits.to(at::kFloat), -1).gather(2, tokens.unsqueeze(2)).squeeze(2);
    watch(each, broken);
  }
  return each.to(at::kDouble).mean(1);
}

}  // namespace

at::Tensor token_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    return kernels::judge(logits, tokens, 0, /*logarithm=*/false, broken);
  }
  at::Tensor probability = at::softmax(logits.to(at::kFloat), -1).gather(2, tokens.unsqueeze(2)).squeeze(2);
  watch(probability, broken);
  return probability;
}

at::Tensor class_probability(const at::Tensor& logits, int64_t number, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    return kernels::judge(logits, {}, number, /*logarithm=*/false, broken);
  }
  at::Tensor probability = at::softmax(logits.to(at::kFloat), -1).select(2, number);
  watch(probability, broken);
  return probability;
}

at::Tensor self_confidence(WatchedModel& model, const at::Tensor& tokens) {
  return mean_log_probability(model.logits(tokens), tokens, model.broken());
}

at::Tensor next_token_confidence(WatchedModel& model, const at::Tensor& tokens) {
  const int64_t block = model.info().block_size;
  const int64_t length = tokens.size(1);
  const at::Tensor judged = block > 0 && length > block ? tokens.narrow(1, length - block, block) : tokens;
  const int64_t predicted = judged.size(1) - 1;
  if (predicted == 0) {
    return at::zeros({tokens.size(0)}, tokens.options().dtype(at::kDouble));
  }
  return mean_log_probability(model.logits(judged.narrow(1, 0, predicted)), judged.narrow(1, 1, predicted),
                              model.broken());
}

}  // namespace demask
