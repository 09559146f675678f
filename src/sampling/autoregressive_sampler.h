// Standard left-to-right sampling, nanoGPT's generate, all samples of a batch together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "sampling/checked_model.h"
#include "sampling/match_tracker.h"
#include "sampling/noise.h"
#include "sampling/sample.h"
#include "sampling/token_draw.h"

namespace demask {

// One sample to draw: it begins with the prompt, or with a random token of its own where that is empty, and gains
// new_tokens. The prompt must outlive the call that it is given to.
struct AutoregressiveTask {
  Stream stream;
  const std::vector<int64_t>* prompt = nullptr;
  int64_t new_tokens = 1;
  bool traced = false;              // the sample comes with a StepTrace
  SampleIdentity identity = {};     // what observers are told
  const MatchRule* rule = nullptr;  // null: the text is to match no pattern; outlives the call too
};

// `count` samples of one prompt, with indices from that of `first` on.
std::vector<AutoregressiveTask> consecutive(const Stream& first, int64_t count, const std::vector<int64_t>& prompt,
                                            int64_t new_tokens);

struct AutoregressiveOptions {
  DrawOptions draw;
  at::Tensor forbidden;               // [V] float32 on the model's device: -inf for ids that are never drawn, else 0
  std::vector<int64_t> first_tokens;  // ids that an empty prompt may start with, equally likely
  // Asked before each step; true: the batch is given up. May be empty.
  std::function<bool()> gives_up = {};
  // Told why a step could not be recorded as a CUDA graph.
  std::function<void(const std::string& reason)> on_unrecordable = [](const std::string&) {};
};

// What to tell of texts that begin with `given` tokens and end with `length`, drawn by the model that `name` names:
// from which token on they are longer than a cache of keys serves, and what that costs. Empty where they are not.
std::optional<std::string> outgrowing_notice(const ModelInfo& info, const std::string& name, int64_t given,
                                             int64_t length);

class AutoregressiveSampler {
 public:
  AutoregressiveSampler(CheckedModel& model, AutoregressiveOptions options);
  ~AutoregressiveSampler();
  AutoregressiveSampler(const AutoregressiveSampler&) = delete;
  AutoregressiveSampler& operator=(const AutoregressiveSampler&) = delete;

  // Draws one sample or more in step, each as if it were drawn alone: while one is still in its prompt it takes its
  // tokens from there, and when it has its last it goes on until all do. Prompts that begin alike are read once.
  // `observer` may be null. Throws Error(failed) on non-finite logits, GivenUp where gives_up says so.
  //
  // Self-confidence is the mean of log p(token) over the tokens from the second on, prompt included, each by the
  // forward that it was drawn from or read in, so from the last block_size tokens before it. Prompt tokens with more
  // than block_size before them do not count, nor does the prompt of a model that is not causal or gives the last
  // position only: no forward of such a model gives all of them.
  std::vector<DrawnSample> sample(const std::vector<AutoregressiveTask>& tasks, Observer* observer);

  // Reads the prompts and makes the first step, and the last where that is another kind of forward, on texts that are
  // thrown away, to see what memory they take.
  void try_step(const std::vector<AutoregressiveTask>& tasks);

  // Forwards of the model so far: one for each step, the first of which reads the prompts, and one more a batch whose
  // prompts are all longer than the block, of their beginnings.
  int64_t forwards() const { return forwards_; }

 private:
  struct Chain;
  struct Batch;
  struct Tracer;

  // For an empty prompt.
  int64_t first_token(const Stream& stream, const MatchTracker& tracker) const;
  Batch make_batch(const std::vector<AutoregressiveTask>& tasks) const;
  // Makes the chain ready for these samples, as a new one where its shape differs.
  void set_up(const Batch& batch);
  // One token more for every sample of the chain: a pure function of its tensors, of fixed shape within a phase of the
  // session. Fills `view`, unless it is null, with tensors.
  void step(StepView* view);
  bool draws_at_once(const at::Tensor& logits) const;
  void run_step(int64_t more);
  void attach_traces(const Batch& batch, std::vector<DrawnSample>& samples) const;

  CheckedModel& model_;
  AutoregressiveOptions options_;
  std::unique_ptr<Chain> chain_;
  int64_t forwards_ = 0;
};

}  // namespace demask
