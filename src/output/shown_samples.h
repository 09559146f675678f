// What a live view shows of the samples of a batch: their tokens, and what each step did to them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "output/live_layout.h"
#include "sampling/sample.h"

namespace demask {

class ShownSamples {
 public:
  using Tokens = std::vector<std::vector<ShownToken>>;  // of each sample

  ShownSamples(bool diffusion, std::optional<int64_t> mask_token_id)
      : diffusion_(diffusion), mask_token_id_(mask_token_id) {}

  // Nothing is shown of this batch until its first step.
  void begin(const std::vector<SampleInBatch>& batch);
  // Copies what it shows to the host, which waits for the device.
  void take(const StepView& view);

  const Tokens& tokens() const { return tokens_; }
  std::vector<int64_t> indices() const;  // of the samples, within the run

 private:
  void take_diffusion_step(const StepView& view);
  void take_token(const StepView& view);

  bool diffusion_;
  std::optional<int64_t> mask_token_id_;
  std::vector<SampleInBatch> batch_;
  Tokens tokens_;
};

}  // namespace demask
