#include "demask/sampling/step_tracer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "demask/model/device.h"
#include "demask/sampling/confidence.h"
#include "demask/sampling/read_back.h"

namespace demask {
namespace {

// Bytes of logits that are kept before probabilities are made of them; those are a few times as many for a moment.
constexpr int64_t window_bytes = int64_t{64} << 20;

void put_row(const at::Tensor& into, const at::Tensor& step, const at::Tensor& row) {
  at::Tensor target = into;
  target.index_copy_(0, step, row.unsqueeze(0));
}

}  // namespace

at::Tensor TracedRows::of(const at::Tensor& x) {
  if (rows_.back() - rows_.front() + 1 == count()) {
    return x.narrow(0, rows_.front(), count());
  }
  if (!index_.defined()) {
    index_ = at::tensor(rows_, at::kLong).to(x.device());
  }
  return x.index_select(0, index_);
}

ProbabilityTrace::ProbabilityTrace(int64_t first, int64_t end, at::Tensor forbidden)
    : first_(first), end_(end), forbidden_(std::move(forbidden)), taken_up_(first) {}

void ProbabilityTrace::restart() {
  taken_up_ = first_;
}

void ProbabilityTrace::record(const at::Tensor& step, const at::Tensor& logits) {
  if (!logits_.defined()) {
    window_ = std::clamp<int64_t>(window_bytes / static_cast<int64_t>(logits.nbytes()), 1, end_);
    std::vector<int64_t> sizes = logits.sizes().vec();
    sizes.insert(sizes.begin(), window_);
    logits_ = at::empty(sizes, logits.options());
  }
  put_row(logits_, window_ == end_ ? step : step.remainder(window_), logits);
}

void ProbabilityTrace::make_room(int64_t done, const std::function<at::Tensor(int64_t, int64_t)>& tokens_of) {
  if (window_ > 0 && done % window_ == 0) {
    finish(done, tokens_of);
  }
}

void ProbabilityTrace::finish(int64_t done, const std::function<at::Tensor(int64_t, int64_t)>& tokens_of) {
  const int64_t count = done - taken_up_;
  if (count <= 0) {
    return;
  }
  const at::Tensor logits = logits_.narrow(0, taken_up_ % window_, count).to(at::kFloat);
  const int64_t vocabulary = logits.size(-1);
  const at::Tensor log_probabilities = at::log_softmax(logits, -1);
  const at::Tensor tokens = tokens_of(taken_up_, count).clamp(0, vocabulary - 1).unsqueeze(-1);
  const at::Tensor likeliest =
      std::get<1>((log_probabilities + forbidden_).topk(std::min(traced_likeliest, vocabulary), -1));
  if (!confidence_.defined()) {
    const auto for_all_steps = [this](const at::Tensor& some) {
      std::vector<int64_t> sizes = some.sizes().vec();
      sizes.front() = end_;
      return at::zeros(sizes, some.options());
    };
    confidence_ = for_all_steps(log_probabilities.select(-1, 0));
    likeliest_ = for_all_steps(likeliest);
    likeliest_probabilities_ = at::zeros(likeliest_.sizes(), logits.options());
  }
  const auto store = [&](at::Tensor& into, const at::Tensor& values) {
    into.narrow(0, taken_up_, count).copy_(values);
  };
  store(confidence_, log_probabilities.gather(-1, tokens).squeeze(-1).exp());
  store(likeliest_, likeliest);
  store(likeliest_probabilities_, log_probabilities.gather(-1, likeliest).exp());
  taken_up_ = done;
}

StepTracer::StepTracer(std::vector<int64_t> rows, int64_t steps, const at::Tensor& tokens, int64_t mask_token_id,
                       const at::Tensor& forbidden)
    : rows_(std::move(rows)), steps_(steps), mask_token_id_(mask_token_id), probabilities_(0, steps, forbidden) {
  filled_ = at::empty({steps, rows_.count(), tokens.size(1)}, tokens.options());
  masked_ = at::empty(filled_.sizes(), tokens.options().dtype(at::kBool));
  rows_.of(tokens);
}

void StepTracer::begin_batch() {
  probabilities_.restart();
  if (judged_.defined()) {
    judged_.fill_(std::numeric_limits<float>::quiet_NaN());
  }
}

void StepTracer::record_forward(const at::Tensor& step, const at::Tensor& logits) {
  probabilities_.record(step, rows_.of(logits));
}

void StepTracer::record_text(const at::Tensor& step, const at::Tensor& filled, const at::Tensor& masked) {
  put_row(filled_, step, rows_.of(filled));
  put_row(masked_, step, rows_.of(masked));
}

void StepTracer::record_judgement(const at::Tensor& step, const at::Tensor& logits, const at::Tensor& tokens,
                                  const at::Tensor& broken) {
  store_judgement(step, token_probability(rows_.of(logits), rows_.of(tokens), broken));
}

void StepTracer::record_judgement(const at::Tensor& step, const at::Tensor& right) {
  store_judgement(step, rows_.of(right));
}

void StepTracer::store_judgement(const at::Tensor& step, const at::Tensor& right) {
  if (!judged_.defined()) {
    judged_ = at::full(filled_.sizes(), std::numeric_limits<float>::quiet_NaN(), right.options());
  }
  put_row(judged_, step, right);
}

at::Tensor StepTracer::drawn_tokens(int64_t first, int64_t count) const {
  return filled_.narrow(0, first, count);
}

void StepTracer::end_step(int64_t done) {
  probabilities_.make_room(done, [this](int64_t first, int64_t count) { return drawn_tokens(first, count); });
}

std::vector<StepTrace> StepTracer::read_back(int64_t steps, const at::Tensor& final_log_probability) {
  probabilities_.finish(steps, [this](int64_t first, int64_t count) { return drawn_tokens(first, count); });
  const auto fetch = [steps](const at::Tensor& x) { return x.defined() ? on_host(x.narrow(0, 0, steps)) : x; };
  const at::Tensor filled = fetch(filled_), masked = fetch(masked_), judged = fetch(judged_),
                   confidence = fetch(probabilities_.confidence()), likeliest = fetch(probabilities_.likeliest()),
                   likeliest_probabilities = fetch(probabilities_.likeliest_probabilities()),
                   final_confidence = on_host(rows_.of(final_log_probability).exp());
  synchronize(filled_.device());
  std::vector<StepTrace> traces;
  for (int64_t row = 0; row < rows_.count(); ++row) {
    const auto of_row = [row](const at::Tensor& x) { return x.defined() ? x.select(1, row).contiguous() : x; };
    StepTrace trace;
    trace.filled = of_row(filled);
    trace.masked = of_row(masked);
    trace.confidence = of_row(confidence).masked_fill_(trace.filled == mask_token_id_, 0);
    trace.judged = of_row(judged);
    trace.likeliest = of_row(likeliest);
    trace.likeliest_probabilities = of_row(likeliest_probabilities);
    trace.final_confidence = final_confidence[row].contiguous();
    traces.push_back(std::move(trace));
  }
  return traces;
}

}  // namespace demask
