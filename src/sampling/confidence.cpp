#include "sampling/confidence.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/read_back.h"
#include "sampling/token_draw.h"

namespace demask {
namespace {

// Stands for minus infinity where a product with zero must stay zero; below it exp() is 0 in float32.
constexpr double least_log_probability = -200;

// p * log p is 0 where p is.
at::Tensor entropy_of(const at::Tensor& probabilities, const at::Tensor& log_probabilities) {
  return (probabilities * log_probabilities.clamp_min(least_log_probability)).sum(-1).neg();
}

}  // namespace

at::Tensor token_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::cuda::has_kernels_for(logits)) {
    return kernels::cuda::judge(logits, tokens, 0, /*logarithm=*/false, broken);
  }
  at::Tensor probability = at::softmax(logits.to(at::kFloat), -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1);
  watch(probability, broken);
  return probability;
}

at::Tensor token_log_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::cuda::has_kernels_for(logits)) {
    return kernels::cuda::judge(logits, tokens, 0, /*logarithm=*/true, broken);
  }
  at::Tensor each = at::log_softmax(logits.to(at::kFloat), -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1);
  watch(each, broken);
  return each;
}

Certainty measure_certainty(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken) {
  if (kernels::cuda::has_kernels_for(logits)) {
    Certainty certainty{at::empty_like(tokens, tokens.options().dtype(at::kFloat)), {}, {}};
    certainty.margin = at::empty_like(certainty.log_probability);
    certainty.entropy = at::empty_like(certainty.log_probability);
    kernels::cuda::measure(logits, tokens, certainty.log_probability, certainty.margin, certainty.entropy, broken);
    return certainty;
  }
  const at::Tensor log_probabilities = at::log_softmax(logits.to(at::kFloat), -1);
  const at::Tensor probabilities = log_probabilities.exp();
  const at::Tensor two = std::get<0>(probabilities.topk(std::min<int64_t>(2, probabilities.size(-1)), -1));
  Certainty certainty;
  certainty.log_probability = log_probabilities.gather(2, tokens.unsqueeze(2)).squeeze(2);
  certainty.margin = two.size(-1) < 2 ? two.select(-1, 0) : two.select(-1, 0) - two.select(-1, 1);
  certainty.entropy = entropy_of(probabilities, log_probabilities);
  watch(certainty.log_probability, broken);
  return certainty;
}

at::Tensor temperatures_by_entropy(const at::Tensor& logits, const at::Tensor& temperature, const at::Tensor& whole,
                                   double power, const at::Tensor& broken) {
  const kernels::EntropyRule rule{power, least_temperature, most_temperature};
  if (kernels::cuda::has_kernels_for(logits)) {
    return kernels::cuda::temperatures_by_entropy(logits, temperature, whole, rule, broken);
  }
  const at::Tensor log_probabilities = at::log_softmax(logits.to(at::kFloat), -1);
  const at::Tensor share = (entropy_of(log_probabilities.exp(), log_probabilities) / whole).clamp_(0, 1);
  at::Tensor temperatures = (power == 1 ? share : share.pow(power)) * temperature;
  watch(temperatures, broken);
  return temperatures.clamp_(rule.least, rule.most);
}

at::Tensor class_probability(const at::Tensor& logits, int64_t number, const at::Tensor& broken) {
  if (kernels::cuda::has_kernels_for(logits)) {
    return kernels::cuda::judge(logits, {}, number, /*logarithm=*/false, broken);
  }
  at::Tensor probability = at::softmax(logits.to(at::kFloat), -1).select(2, number);
  watch(probability, broken);
  return probability;
}

at::Tensor log_probability_in_place(CheckedModel& model, const at::Tensor& tokens) {
  return token_log_probability(model.logits(tokens), tokens, model.broken());
}

at::Tensor mean_log_probability(const at::Tensor& log_probability) {
  const at::Tensor host = on_host(log_probability);
  synchronize(log_probability.device());
  at::Tensor means = at::empty({host.size(0)}, at::kDouble);
  const float* row = host.data_ptr<float>();
  const int64_t length = host.size(1);
  for (int64_t b = 0; b < host.size(0); ++b, row += length) {
    means.data_ptr<double>()[b] = std::accumulate(row, row + length, 0.0) / static_cast<double>(length);
  }
  return means;
}

at::Tensor next_token_confidence(CheckedModel& model, const at::Tensor& tokens) {
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

NextTokenScores::NextTokenScores(CheckedModel& model, int64_t batch, int64_t length)
    : model_(model), table_(at::empty({length, batch}, at::device(model.device()).dtype(at::kFloat))) {}

void NextTokenScores::read(DecodingSession& session, const Beginnings& beginnings, const at::Tensor& texts) {
  const at::Tensor tokens = beginnings.of(texts);
  const at::Tensor scores = at::zeros(tokens.sizes(), table_.options());
  session.restart(beginnings, [&](const Slice& slice, const at::Tensor& logits) {
    Slice next = slice;
    ++next.first_position;
    next.positions = std::min(next.positions, beginnings.length - next.first_position);
    if (next.positions > 0) {
      next.of(scores).copy_(
          token_log_probability(logits.narrow(1, 0, next.positions), next.of(tokens), model_.broken()));
    }
  });
  table_.narrow(0, 0, beginnings.length).copy_(beginnings.for_each_text(scores).t());
}

void NextTokenScores::draw(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& position) {
  table_.index_copy_(0, position, token_log_probability(logits, tokens, model_.broken()).unsqueeze(0));
}

at::Tensor NextTokenScores::means(const std::vector<int64_t>& lengths, const std::vector<int64_t>& given) const {
  const ModelInfo& info = model_.info();
  const at::Tensor table = on_host(table_);
  synchronize(table_.device());
  const float* scores = table.data_ptr<float>();
  const auto batch = static_cast<int64_t>(lengths.size());
  at::Tensor means = at::zeros({batch}, at::kDouble);
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = lengths[static_cast<size_t>(b)], drawn_from = given[static_cast<size_t>(b)];
    int64_t scored_to = 1;  // of the beginning
    if (info.causal && info.every_position) {
      scored_to = info.block_size > 0 ? std::min(drawn_from, info.block_size + 1) : drawn_from;
    }
    double sum = 0;
    int64_t count = 0;
    for (int64_t t = 1; t < length; ++t) {
      if (t < scored_to || t >= drawn_from) {
        sum += static_cast<double>(scores[t * batch + b]);
        ++count;
      }
    }
    means.data_ptr<double>()[b] = count == 0 ? 0.0 : sum / static_cast<double>(count);
  }
  return means;
}

}  // namespace demask
