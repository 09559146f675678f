#include "sampling/confidence.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/kernels.h"

namespace demask {
namespace {

// Stands for minus infinity where a product with zero must stay zero; below it exp() is 0 in float32.
constexpr double lowest_log_probability = -200;

}  // namespace

at::Tensor token_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    return kernels::judge(logits, tokens, 0, /*logarithm=*/false, broken);
  }
  at::Tensor probability = at::softmax(logits.to(at::kFloat), -1).gather(2, tokens.unsqueeze(2)).squeeze(2);
  watch(probability, broken);
  return probability;
}

at::Tensor token_log_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    return kernels::judge(logits, tokens, 0, /*logarithm=*/true, broken);
  }
  at::Tensor each = at::log_softmax(logits.to(at::kFloat), -1).gather(2, tokens.unsqueeze(2)).squeeze(2);
  watch(each, broken);
  return each;
}

Certainty measure_certainty(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    Certainty certainty{at::empty_like(tokens, tokens.options().dtype(at::kFloat)), {}, {}};
    certainty.margin = at::empty_like(certainty.log_probability);
    certainty.entropy = at::empty_like(certainty.log_probability);
    kernels::measure(logits, tokens, certainty.log_probability, certainty.margin, certainty.entropy, broken);
    return certainty;
  }
  const at::Tensor log_probabilities = at::log_softmax(logits.to(at::kFloat), -1);
  const at::Tensor probabilities = log_probabilities.exp();
  const at::Tensor two = std::get<0>(probabilities.topk(std::min<int64_t>(2, probabilities.size(-1)), -1));
  Certainty certainty;
  certainty.log_probability = log_probabilities.gather(2, tokens.unsqueeze(2)).squeeze(2);
  certainty.margin = two.size(-1) < 2 ? two.select(-1, 0) : two.select(-1, 0) - two.select(-1, 1);
  // p * log p is 0 where p is.
  certainty.entropy = (probabilities * log_probabilities.clamp_min(lowest_log_probability)).sum(-1).neg();
  watch(certainty.log_probability, broken);
  return certainty;
}

at::Tensor class_probability(const at::Tensor& logits, int64_t number, const at::Tensor& broken) {
  if (kernels::usable(logits)) {
    return kernels::judge(logits, {}, number, /*logarithm=*/false, broken);
  }
  at::Tensor probability = at::softmax(logits.to(at::kFloat), -1).select(2, number);
  watch(probability, broken);
  return probability;
}

at::Tensor log_probability_in_place(WatchedModel& model, const at::Tensor& tokens) {
  return token_log_probability(model.logits(tokens), tokens, model.broken());
}

at::Tensor mean_log_probability(const at::Tensor& log_probability) {
  return log_probability.to(at::kDouble).mean(1);
}

at::Tensor next_token_confidence(WatchedModel& model, const at::Tensor& tokens) {
  const int64_t block = model.info().block_size;
  const int64_t length = tokens.size(1);
  const at::Tensor judged = block > 0 && length > block ? tokens.narrow(1, length - block, block) : tokens;
  const int64_t predicted = judged.size(1) - 1;
  if (predicted == 0) {
    return at::zeros({tokens.size(0)}, tokens.options().dtype(at::kDouble));
  }
  return mean_log_probability(token_log_probability(model.logits(judged.narrow(1, 0, predicted)),
                                                    judged.narrow(1, 1, predicted), model.broken()));
}

at::Tensor next_token_confidence(WatchedModel& model, const at::Tensor& tokens, const std::vector<int64_t>& lengths) {
  const int64_t predicted = tokens.size(1) - 1;
  std::vector<at::Tensor> means(lengths.size(), at::zeros({1}, tokens.options().dtype(at::kDouble)));
  if (predicted > 0) {
    const at::Tensor each = token_log_probability(model.logits(tokens.narrow(1, 0, predicted)),
                                                  tokens.narrow(1, 1, predicted), model.broken())
                                .to(at::kDouble);
    for (size_t b = 0; b < lengths.size(); ++b) {
      if (lengths[b] > 1) {
        means[b] = each.narrow(0, static_cast<int64_t>(b), 1).narrow(1, 0, lengths[b] - 1).mean(1);
      }
    }
  }
  return at::cat(means);
}

}  // namespace demask
