// Standard left-to-right sampling, nanoGPT's generate, all samples of a batch together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
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
};

class AutoregressiveSampler {
 public:
  AutoregressiveSampler(WatchedModel& model, AutoregressiveOptions options);

  // Draws the samples with global indices first_index .. first_index + batch - 1. Each begins with `prompt`, or with a
  // random token of its own where the prompt is empty, and gains max_new_tokens. `observer` may be null. Throws
  // Error(failed) on non-finite logits, Error(interrupted) once `interrupted` says so.
  std::vector<Sample> sample(int64_t first_index, int64_t batch, const std::vector<int64_t>& prompt, Observer* observer,
                             const std::function<bool()>& interrupted);

 private:
  at::Tensor beginnings(int64_t first_index, int64_t batch, const std::vector<int64_t>& prompt) const;

  WatchedModel& model_;
  AutoregressiveOptions options_;
};

}  // namespace demask
