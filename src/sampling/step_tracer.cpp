#include "sampling/step_tracer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/confidence.h"
#include "sampling/read_back.h"

namespace demask {
namespace {

static_assert(traced_likeliest <= kernels::max_traced_likeliest);

// Stands for minus infinity in a candidate that is not taken yet; smaller than any other logarithm.
constexpr double lowest_remaining = -1e30;

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

kernels::TraceTables make_trace_tables(const std::vector<int64_t>& sizes, const at::Tensor& forbidden, bool with_text) {
  std::vector<int64_t> sizes_of_likeliest = sizes;
  sizes_of_likeliest.push_back(std::min(traced_likeliest, forbidden.size(0)));
  const at::TensorOptions options = forbidden.options();
  kernels::TraceTables tables;
  if (with_text) {
    tables.tokens = at::zeros(sizes, options.dtype(at::kLong));
    tables.masked = at::zeros(sizes, options.dtype(at::kBool));
  }
  tables.confidence = at::zeros(sizes, options.dtype(at::kFloat));
  tables.likeliest = at::zeros(sizes_of_likeliest, options.dtype(at::kLong));
  tables.likeliest_probabilities = at::zeros(sizes_of_likeliest, options.dtype(at::kFloat));
  return tables;
}

void trace_step(const at::Tensor& slot, const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                const at::Tensor& forbidden, const kernels::TraceTables& tables) {
  if (kernels::cuda::has_kernels_for(logits)) {
    return kernels::cuda::trace(slot, logits, tokens, masked, forbidden, tables);
  }
  const at::Tensor log_probabilities = at::log_softmax(logits.to(at::kFloat), -1);
  const auto probability_of = [&](const at::Tensor& ids) { return log_probabilities.gather(-1, ids).exp(); };
  // The first of equal maxima is the one with the lowest id; a sort, stable or not, would take longer.
  at::Tensor left = (log_probabilities + forbidden).clamp_min(lowest_remaining);
  std::vector<at::Tensor> ids;
  for (int64_t n = 0; n < tables.likeliest.size(-1); ++n) {
    ids.push_back(left.argmax(-1, /*keepdim=*/true));
    left.scatter_(-1, ids.back(), -std::numeric_limits<double>::infinity());
  }
  const at::Tensor likeliest = at::cat(ids, -1);
  put_row(tables.likeliest, slot, likeliest);
  put_row(tables.likeliest_probabilities, slot, probability_of(likeliest));
  put_row(tables.confidence, slot, probability_of(tokens.clamp(0, logits.size(-1) - 1).unsqueeze(-1)).squeeze(-1));
  if (tables.tokens.defined()) {
    put_row(tables.tokens, slot, tokens);
  }
  if (tables.masked.defined()) {
    put_row(tables.masked, slot, masked);
  }
}

StepTracer::StepTracer(std::vector<int64_t> rows, int64_t steps, const at::Tensor& tokens, int64_t mask_token_id,
                       at::Tensor forbidden)
    : rows_(std::move(rows)),
      mask_token_id_(mask_token_id),
      forbidden_(std::move(forbidden)),
      tables_(make_trace_tables({steps, rows_.count(), tokens.size(1)}, forbidden_, /*with_text=*/true)) {
  rows_.of(tokens);
}

void StepTracer::begin_batch() {
  if (judged_.defined()) {
    judged_.fill_(std::numeric_limits<float>::quiet_NaN());
  }
}

void StepTracer::record(const at::Tensor& step, const at::Tensor& logits, const at::Tensor& filled,
                        const at::Tensor& masked) {
  trace_step(step, rows_.of(logits), rows_.of(filled), rows_.of(masked), forbidden_, tables_);
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
    judged_ = at::full(tables_.confidence.sizes(), std::numeric_limits<float>::quiet_NaN(), right.options());
  }
  put_row(judged_, step, right);
}

std::vector<StepTrace> StepTracer::read_back(int64_t steps, const at::Tensor& masked,
                                             const at::Tensor& final_log_probability) {
  const auto fetch = [steps](const at::Tensor& x) { return x.defined() ? on_host(x.narrow(0, 0, steps)) : x; };
  const at::Tensor filled = fetch(tables_.tokens), masked_before = fetch(tables_.masked),
                   confidence = fetch(tables_.confidence), likeliest = fetch(tables_.likeliest),
                   likeliest_probabilities = fetch(tables_.likeliest_probabilities), judged = fetch(judged_),
                   masked_now = on_host(rows_.of(masked)),
                   final_confidence = on_host(rows_.of(final_log_probability).exp());
  synchronize(masked.device());
  // A step leaves masked what is when the next one begins.
  const at::Tensor masked_after =
      steps == 0 ? masked_before : at::cat({masked_before.narrow(0, 1, steps - 1), masked_now.unsqueeze(0)});
  std::vector<StepTrace> traces;
  for (int64_t row = 0; row < rows_.count(); ++row) {
    const auto of_row = [row](const at::Tensor& x) { return x.defined() ? x.select(1, row).contiguous() : x; };
    StepTrace trace;
    trace.filled = of_row(filled);
    trace.masked = of_row(masked_after);
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
