// A left-to-right model that says how likely texts are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/quality/metrics.h"
#include "engine/context.h"
#include "sampling/checked_model.h"

namespace demask::quality {

// As HeldOutWindows, decoded.
struct HeldOutTexts {
  std::vector<std::string> reference;
  std::vector<std::string> measured;
};

class Judge {
 public:
  // Opens the checkpoint in float32 on the run's device, with its own vocabulary. Throws Error where it does not open,
  // or is not a causal model.
  Judge(const std::string& checkpoint_name, const bench::Options& options);

  // Of each text: its tokens in the judge's own vocabulary, however another model put it together, and the mean of
  // -log p over them but the first, each given those before it, nats. Texts longer than the judge's block are judged by
  // their end. Throws Error(bad_input) where a text has characters that the judge does not know.
  Readings read(const std::vector<std::string>& texts);

  // Windows of `length` of the judge's tokens each, as held_out_windows has them. Throws Error as it and `read` do.
  HeldOutTexts held_out(const std::string& text, int64_t length, int64_t most) const;

  // Of its kind of tokens: least_distinct_characters or least_distinct_pieces.
  double least_distinct() const;

 private:
  Ids encode(const std::string& text) const;
  std::vector<std::string> decode(const std::vector<Ids>& texts) const;
  // Mean nats a token of texts [B, T], all of one length T > 1.
  std::vector<double> judge_batch(const std::vector<Ids>& texts);

  Context context_;
  CheckedModel model_;
};

}  // namespace demask::quality
