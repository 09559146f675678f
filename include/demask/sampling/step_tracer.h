// Keeps what steps did on the device while they run, so that tracing neither waits for it nor leaves a recorded graph:
// a few copies a step, and the arithmetic over many steps at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "demask/sampling/step_trace.h"

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

// Untempered probabilities of tokens, and the likeliest ones, of step after step.
class ProbabilityTrace {
 public:
  // Steps have numbers from `first` up to below `end`. forbidden [V] float32: -inf for ids that are never drawn.
  ProbabilityTrace(int64_t first, int64_t end, at::Tensor forbidden);

  // As part of step number `step` [1] int64: keeps logits [n, ..., V].
  void record(const at::Tensor& step, const at::Tensor& logits);
  // Between steps, once those below `done` have run: makes room where there is none left. tokens_of(first, count) gives
  // those whose probability is wanted, [count, n, ...] int64.
  void make_room(int64_t done, const std::function<at::Tensor(int64_t first, int64_t count)>& tokens_of);
  // Takes up what is left.
  void finish(int64_t done, const std::function<at::Tensor(int64_t first, int64_t count)>& tokens_of);
  void restart();

  // [end, n, ...] float32, [end, n, ..., K] int64 and float32, of steps that were taken up.
  const at::Tensor& confidence() const { return confidence_; }
  const at::Tensor& likeliest() const { return likeliest_; }
  const at::Tensor& likeliest_probabilities() const { return likeliest_probabilities_; }

 private:
  int64_t first_;
  int64_t end_;
  at::Tensor forbidden_;
  int64_t window_ = 0;    // steps that there is room for
  int64_t taken_up_ = 0;  // those below it
  at::Tensor logits_;     // [window, n, ..., V]
  at::Tensor confidence_, likeliest_, likeliest_probabilities_;
};

// Of demasking. The calls that take `step`, [1] int64, are part of a step that may be recorded as a graph.
class StepTracer {
 public:
  // tokens [B, T] int64 on the model's device; steps: at most; forbidden [V] float32.
  StepTracer(std::vector<int64_t> rows, int64_t steps, const at::Tensor& tokens, int64_t mask_token_id,
             const at::Tensor& forbidden);
  const std::vector<int64_t>& rows() const { return rows_.numbers(); }

  void begin_batch();
  void record_forward(const at::Tensor& step, const at::Tensor& logits);                             // [B, T, V]
  void record_text(const at::Tensor& step, const at::Tensor& filled, const at::Tensor& masked);      // [B, T]
  void record_judgement(const at::Tensor& step, const at::Tensor& logits, const at::Tensor& tokens,  // of the traced
                        const at::Tensor& broken);
  void record_judgement(const at::Tensor& step, const at::Tensor& right);  // [B, T] float32
  // After step number done - 1 was queued.
  void end_step(int64_t done);

  // The traces of the rows after so many steps, without `scheduled`; final_log_probability [B, T].
  std::vector<StepTrace> read_back(int64_t steps, const at::Tensor& final_log_probability);

 private:
  at::Tensor drawn_tokens(int64_t first, int64_t count) const;
  void store_judgement(const at::Tensor& step, const at::Tensor& right);

  TracedRows rows_;
  int64_t steps_;
  int64_t mask_token_id_;
  ProbabilityTrace probabilities_;
  at::Tensor filled_;  // [steps, n, T] int64
  at::Tensor masked_;  // [steps, n, T] bool
  at::Tensor judged_;  // [steps, n, T] float32; undefined until a step is judged
};

}  // namespace demask
