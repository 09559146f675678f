// Keeps what steps did on the device while they run, as part of them, so that tracing neither waits for it nor leaves a
// recorded graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/operands.h"
#include "sampling/step_trace.h"

namespace demask {

// Rows of a batch, ascending.
class TracedRows {
 public:
  explicit TracedRows(std::vector<int64_t> rows) : rows_(std::move(rows)) {}
  const std::vector<int64_t>& numbers() const { return rows_; }
  int64_t count() const { return static_cast<int64_t>(rows_.size()); }
  // x [B, ...] -> [n, ...]; a view where the rows are neighbours. The first call, which may not be part of a recorded
  // step, sends their numbers to the device.
  at::Tensor of(const at::Tensor& x);

 private:
  std::vector<int64_t> rows_;
  at::Tensor index_;
};

// Tables [slots, ...] for what steps of shape [...] trace, zero where nothing was traced. forbidden [V] float32, on the
// steps' device; with_text: for tokens and what was masked, too.
kernels::TraceTables make_trace_tables(const std::vector<int64_t>& sizes, const at::Tensor& forbidden, bool with_text);

// As part of a step that may be recorded: kernels::cuda::trace, by LibTorch's operations where there is no kernel for
// it.
void trace_step(const at::Tensor& slot, const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                const at::Tensor& forbidden, const kernels::TraceTables& tables);

// Of demasking. The calls that take `step`, [1] int64, are part of a step that may be recorded as a graph.
class StepTracer {
 public:
  // tokens [B, T] int64 on the model's device; steps: at most; forbidden [V] float32.
  StepTracer(std::vector<int64_t> rows, int64_t steps, const at::Tensor& tokens, int64_t mask_token_id,
             at::Tensor forbidden);
  const std::vector<int64_t>& rows() const { return rows_.numbers(); }

  void begin_batch();
  // The forward's logits [B, T, V], the text that was drawn from them [B, T], and what was masked before [B, T] bool.
  void record(const at::Tensor& step, const at::Tensor& logits, const at::Tensor& filled, const at::Tensor& masked);
  void record_judgement(const at::Tensor& step, const at::Tensor& logits, const at::Tensor& tokens,
                        const at::Tensor& broken);                         // of the traced rows
  void record_judgement(const at::Tensor& step, const at::Tensor& right);  // [B, T] float32

  // The traces of the rows after so many steps, without `scheduled`; what is masked now [B, T] bool,
  // final_log_probability [B, T].
  std::vector<StepTrace> read_back(int64_t steps, const at::Tensor& masked, const at::Tensor& final_log_probability);

 private:
  void store_judgement(const at::Tensor& step, const at::Tensor& right);

  TracedRows rows_;
  int64_t mask_token_id_;
  at::Tensor forbidden_;
  kernels::TraceTables tables_;  // [steps, n, T, ...]; masked: when the step began
  at::Tensor judged_;            // [steps, n, T] float32; undefined until a step is judged
};

}  // namespace demask
