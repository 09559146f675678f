// A left-to-right model that says how likely texts are.
#pragma once

#include <string>
#include <vector>

#include "bench/options.h"
#include "engine/context.h"
#include "sampling/checked_model.h"

namespace demask::quality {

class Judge {
 public:
  // Opens the checkpoint in float32 on the run's device, with its own vocabulary. Throws Error where it does not open,
  // or is not a causal model.
  Judge(const std::string& checkpoint_name, const bench::Options& options);

  // Of each text: the mean of -log p over its characters but the first, each given those before it, nats. Texts longer
  // than the judge's block are judged by their end. Throws Error(bad_input) where a text has characters that the judge
  // does not know.
  std::vector<double> nats_per_character(const std::vector<std::string>& texts);

 private:
  // Of texts [B, T], all of one length.
  std::vector<double> judge_batch(const std::vector<std::vector<int64_t>>& texts);

  Context context_;
  CheckedModel model_;
};

}  // namespace demask::quality
