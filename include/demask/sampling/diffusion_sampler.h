// Masked-diffusion sampling by iterative demasking: predict every masked position, mask some again, repeat.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "demask/sampling/reveal_policy.h"
#include "demask/sampling/sample.h"
#include "demask/sampling/schedule.h"
#include "demask/sampling/token_draw.h"
#include "demask/sampling/watched_model.h"

namespace demask {

// What is given and what is to fill: the same for every sample of a run.
struct Template {
  std::vector<int64_t> tokens;  // one a position; the mask id where the position is free
  std::vector<bool> fixed;      // one a position

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t free_positions() const;
};

struct DiffusionOptions {
  MaskSchedule schedule;
  DrawOptions draw;
  uint64_t seed = 0;
  int64_t mask_token_id = 0;
  at::Tensor forbidden;  // [V] float32 on the model's device: -inf for ids that are never drawn, else 0
  // Told why a step could not be recorded as a CUDA graph.
  std::function<void(const std::string& reason)> on_unrecordable = [](const std::string&) {};
};

// One demasking step's prediction, a pure function of tensors of fixed shape: the masked positions of tokens [B, T]
// filled from logits [B, T, V] with uniforms [B, T]. Sets `broken` [] bool where a probability is not a number.
Proposal predict(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                 const at::Tensor& uniforms, const DiffusionOptions& options, const at::Tensor& broken);

// The same from logits [B, n, V] at the masked positions [B, n] only, of which every text has n.
Proposal predict_at(const at::Tensor& logits, const at::Tensor& positions, const at::Tensor& tokens,
                    const at::Tensor& masked, const at::Tensor& uniforms, const DiffusionOptions& options,
                    const at::Tensor& broken);

class DiffusionSampler {
 public:
  DiffusionSampler(WatchedModel& model, RevealPolicy& policy, DiffusionOptions options);
  ~DiffusionSampler();
  DiffusionSampler(const DiffusionSampler&) = delete;
  DiffusionSampler& operator=(const DiffusionSampler&) = delete;

  // Draws the samples with global indices first_index .. first_index + batch - 1, all in the same tensor operations.
  // `observer` may be null. `interrupted` is polled between steps.
  // Throws Error(failed) on non-finite logits, Error(interrupted) once `interrupted` says so.
  std::vector<Sample> sample(int64_t first_index, int64_t batch, const Template& text, Observer* observer,
                             const std::function<bool()>& interrupted);

  // Forwards so far, of the model and of the policy's.
  int64_t forwards() const { return forwards_; }

 private:
  struct Chain;

  // Makes the chain ready for these samples, as a new one where its shape differs.
  void prepare(int64_t first_index, int64_t batch, const Template& text, const std::vector<int64_t>& counts);
  // One iteration of every sample of the chain: a pure function of its tensors, of fixed shape. Fills `view`, unless it
  // is null, with tensors.
  void step(bool masks_again, StepView* view);
  Proposal propose(StepView* view);

  WatchedModel& model_;
  RevealPolicy& policy_;
  DiffusionOptions options_;
  std::unique_ptr<Chain> chain_;
  int64_t forwards_ = 0;
};

}  // namespace demask
