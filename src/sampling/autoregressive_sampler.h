// Standard left-to-right sampling, nanoGPT's generate, all samples of a batch together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sampling/noise.h"
#include "sampling/sample.h"
#include "sampling/token_draw.h"
#include "sampling/watched_model.h"

namespace demask {

// One sample to draw: it begins with the prompt, or with a random token of its own where that is empty, and gains
// new_tokens. The prompt must outlive the call that it is given to.
struct AutoregressiveTask {
  Stream stream;
  const std::vector<int64_t>* prompt = nullptr;
  int64_t new_tokens = 1;
  bool traced = false;  // the sample comes with a StepTrace
};

// `count` samples of one prompt, with indices from that of `first` on.
std::vector<AutoregressiveTask> consecutive(const Stream& first, int64_t count, const std::vector<int64_t>& prompt,
                                            int64_t new_tokens);

struct AutoregressiveOptions {
  DrawOptions draw;
  at::Tensor forbidden;               // [V] float32 on the model's device: -inf for ids that are never drawn, else 0
  std::vector<int64_t> first_tokens;  // ids that an empty prompt may start with, equally likely
  // Told why a step could not be recorded as a CUDA graph.
  std::function<void(const std::string& reason)> on_unrecordable = [](const std::string&) {};
};

class AutoregressiveSampler {
 public:
  AutoregressiveSampler(WatchedModel& model, AutoregressiveOptions options);
  ~AutoregressiveSampler();
  AutoregressiveSampler(const AutoregressiveSampler&) = delete;
  AutoregressiveSampler& operator=(const AutoregressiveSampler&) = delete;

  // Draws one sample or more in step, each as if it were drawn alone: while one is still in its prompt it takes its
  // tokens from there, and when it has its last it goes on until all do. `observer` may be null. Throws Error(failed)
  // on non-finite logits.
  std::vector<Sample> sample(const std::vector<AutoregressiveTask>& tasks, Observer* observer);

  // One step and one forward on texts that are thrown away, to see what memory they take.
  void try_step(const std::vector<AutoregressiveTask>& tasks);

  // Forwards of the model so far.
  int64_t forwards() const { return forwards_; }

 private:
  struct Chain;
  struct Batch;
  struct Tracer;

  Batch make_batch(const std::vector<AutoregressiveTask>& tasks) const;
  // Makes the chain ready for these samples, as a new one where its shape differs.
  void prepare(const Batch& batch);
  // One token more for every sample of the chain: a pure function of its tensors, of fixed shape within a phase of the
  // session. Fills `view`, unless it is null, with tensors.
  void step(StepView* view);
  void run_step(int64_t more);
  void attach_traces(const Batch& batch, std::vector<Sample>& samples) const;
  // Self-confidences [B] float64, each of its own sample's tokens only.
  at::Tensor confidence_of(const Batch& batch);

  WatchedModel& model_;
  AutoregressiveOptions options_;
  std::unique_ptr<Chain> chain_;
  int64_t forwards_ = 0;
};

}  // namespace demask
