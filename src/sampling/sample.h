// What a sampler gives: finished samples, and to an observer what happens on the way.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "demask/sample.h"
#include "sampling/score_settings.h"
#include "sampling/step_trace.h"

namespace demask {

// How likely a text is, see sampling/score.h.
struct TextScore {
  ScoreMethod method = ScoreMethod::exact;
  double log_likelihood = 0;             // nats, of the scored tokens together
  std::optional<double> standard_error;  // nats, of a bound by two draws or more
  std::vector<double> each;              // nats, a scored token's share of it, in their order
};

// One sample as the sampler gives it; where it belongs is its task's identity.
struct DrawnSample {
  int64_t index = 0;                       // of its stream
  std::vector<int64_t> tokens;             // prompt included
  double self_confidence = 0.0;            // mean over positions of log p(token), nats
  std::shared_ptr<const StepTrace> trace;  // where it was asked for
  std::optional<TextScore> score = {};     // where a text was scored, or chosen by its score
};

// One step of a batch as the sampler saw it. Tensors are live on the model's device and valid during the call only;
// reading them synchronises the device, which only an observer that looks has to pay.
struct StepView {
  int64_t step = 0;           // 0-based
  int64_t steps = 0;          // in this batch; 0 where it ends when nothing is masked any more
  int64_t masked_before = 0;  // positions masked when the step began, over the whole batch
  int64_t masked_after = 0;   // positions masked again by it
  int64_t positions = 0;      // B * T
  double remask_ratio = 0.0;  // masked_after as a share of the free positions; 0 in the last
  at::Tensor before;          // [B, T] int64, mask id at masked positions. Standard: the text so far, [B, n]
  at::Tensor was_masked;      // [B, T] bool
  at::Tensor
      logits;  // [B, T, V], any floating dtype, that the tokens were drawn from, before temperature. Standard: [B, V]
  at::Tensor filled;         // [B, T] int64 after drawing. Standard: [B, 1], the new tokens
  at::Tensor probabilities;  // [B, T] float32, probability under which each token was drawn (1 where none was).
                             // Standard: [B, 1]
  at::Tensor after;          // [B, T] int64 after remasking. Standard: undefined
};

// A sample of a batch, before its first step.
struct SampleInBatch {
  SampleIdentity identity;
  int64_t given = 0;   // standard sampling: tokens of its beginning
  int64_t length = 0;  // tokens at the end; those that standard sampling draws beyond it are dropped
};

struct BatchView {
  std::vector<SampleInBatch> samples;  // in the order of the rows of StepView's tensors
  int64_t steps = 0;                   // 0: until nothing is masked any more
  int64_t tokens = 0;                  // that are drawn in all
};

// Thrown by a sampler that was asked to give up the batch in flight, whose samples are lost. No std::exception: nobody
// on the way is to take it for a failure.
struct GivenUp {};

// Told of every step. The default does nothing; samplers hold a pointer that may be null.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_batch(const BatchView& /*batch*/) {}
  virtual void on_step(const StepView& /*view*/) {}
  // Whether on_step reads the view's tensors; where nobody does, they are left undefined and steps are faster.
  virtual bool reads_tensors() const { return true; }
  // The batch is complete and read back.
  virtual void on_batch_done() {}
  // A batch that this observer did not follow is complete: another device drew it, meanwhile.
  virtual void on_other_batch_done(int64_t /*samples*/, int64_t /*tokens*/) {}
};

}  // namespace demask
