// Texts that say the same again and again, as strategies that judge their own tokens can end in: a token that is
// likely beside its like confirms itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/generator.h"

namespace demask {

// Different runs of four tokens among all such runs of a text, a share. NaN for a text of fewer than four.
double distinct_4grams(const std::vector<int64_t>& tokens);

// Shares of different 4-grams below which text has collapsed.
struct CollapseBounds {
  double window;  // of one window
  double mean;    // of several on average
};

// For windows of 64 to 256 tokens. Real text lies above, with room. The least of all windows, and of the mean of eight
// neighbours of 256: in tiny Shakespeare, by characters, 0.47 and 0.78; in 1.1 MB of English prose 0.52 and 0.83 by
// characters, 0.63 and 0.94 by pieces. Texts that collapsed have 0.01 to 0.4. Few symbols make few 4-grams, so both are
// multiplied by the share that tokens drawn evenly from the vocabulary would have: 1 from about 30 symbols on.
CollapseBounds collapse_bounds(bool characters, int64_t vocabulary_size);

// Looks at every sample of a run in windows of its drawn tokens. Not thread-safe.
class CollapseWatch {
 public:
  // The context must outlive it.
  explicit CollapseWatch(const Context& context);

  // A finished sample: its text, without what the prompt gives. Stretches shorter than 64 tokens tell nothing.
  void look_at(const PreparedPrompt& prompt, const std::vector<int64_t>& tokens);

  // Where texts of diffusion have collapsed: a notice that says how many, the share of repeated 4-grams in all, and
  // what to use.
  std::optional<std::string> notice() const;

 private:
  const Context& context_;
  bool watches_;  // texts of diffusion, which the run draws: not those that it scores
  CollapseBounds bounds_;
  int64_t texts_ = 0;
  int64_t collapsed_texts_ = 0;
  int64_t windows_ = 0;
  double distinct_ = 0;  // shares, added up over the windows
};

}  // namespace demask
