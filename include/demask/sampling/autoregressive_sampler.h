// Standard left-to-right sampling, nanoGPT's generate, all samples of a batch together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "demask/sampling/sample.h"
#include "demask/sampling/token_draw.h"
#include "demask/sampling/watched_model.h"

namespace demask {

struct AutoregressiveOptions {
  DrawOptions draw;
  uint64_t seed = 0;
  int64_t max_new_tokens = 100;
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

  // Draws the samples with global indices first_index .. first_index + batch - 1. Each begins with `prompt`, or with a
  // random token of its own where the prompt is empty, and gains max_new_tokens. `observer` may be null. Throws
  // Error(failed) on non-finite logits, Error(interrupted) once `interrupted` says so.
  std::vector<Sample> sample(int64_t first_index, int64_t batch, const std::vector<int64_t>& prompt, Observer* observer,
                             const std::function<bool()>& interrupted);

  // Forwards of the model so far.
  int64_t forwards() const { return forwards_; }

 private:
  struct Chain;

  at::Tensor beginnings(int64_t first_index, int64_t batch, const std::vector<int64_t>& prompt) const;

  // Makes the chain ready for these samples, as a new one where its shape differs.
  void prepare(int64_t first_index, const at::Tensor& beginning);
  // One token more for every sample of the chain: a pure function of its tensors, of fixed shape within a phase of the
  // session. Fills `view`, unless it is null, with tensors.
  void step(StepView* view);
  void run_step(int64_t more);

  WatchedModel& model_;
  AutoregressiveOptions options_;
  std::unique_ptr<Chain> chain_;
  int64_t forwards_ = 0;
};

}  // namespace demask
