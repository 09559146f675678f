// Gaps of unknown length: how many pieces each has, by what the model says of the text around it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "sampling/checked_model.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/noise.h"

namespace demask {

// A gap of a template in which every gap is as long as it may be.
struct Gap {
  int64_t first = 0;            // its first position
  int64_t least = 1, most = 1;  // pieces
};

// Whether the template's pattern has a match with some lengths of the gaps, those of the first ones as given; true
// where it has no pattern.
bool may_match(const Template& longest, const std::vector<Gap>& gaps, const std::vector<int64_t>& lengths);

// The template with as many pieces in each gap as `lengths` says, one number a gap, from least to most.
Template with_lengths(const Template& longest, const std::vector<Gap>& gaps, const std::vector<int64_t>& lengths);

// Both must outlive the call that they are given to. Gaps are in order and do not overlap.
struct GapTask {
  Stream stream;
  const Template* longest = nullptr;
  const std::vector<Gap>* gaps = nullptr;
};

// Fixed tokens on each side of a gap that are asked about its length.
inline constexpr int64_t tokens_asked = 4;

// log p(length) up to a constant, nats, of each length from the gap's least to its most: the sum of two chains of log
// p(token) over the fixed tokens next to the gap, those to its right from the farthest inwards, and likewise those to
// its left. Each token is judged with the gap and the tokens between it and the gap masked, so that a chain is log
// p(these tokens | the rest of the text, length) of every fill at once. Bayes' rule turns that into the length's own
// probability, each length being as likely beforehand; two chains are a composite likelihood (Besag 1974). A sum over
// the gap's own pieces would fall with every piece, and this one is over the same tokens at every length. A side
// without fixed tokens between the gap and the next one says nothing. Lengths at which the template's pattern cannot
// match, whatever the lengths of the gaps after it, have -infinity, and nothing is asked about them.
struct LengthEvidence {
  std::vector<double> log_probability;
};

// What chooses lengths, of several gaps one after the other from the left: each knows the lengths of those before it,
// and takes those after it to be as long as the middle of their range. Nothing is filled meanwhile.
class GapChooser {
 public:
  // likeliest: takes the likeliest length, the middle one among equals; else each is drawn by its probability, with a
  // random number of the task's stream.
  GapChooser(CheckedModel& model, int64_t mask_token_id, bool likeliest);

  // The lengths of each task's gaps, a pure function of the task. All texts are equally long. Texts that differ only in
  // a length are one batch, of at most `most_rows` at a time. Throws Error(failed) on non-finite logits. Where a
  // template has a pattern, some lengths must be able to match.
  std::vector<std::vector<int64_t>> choose(const std::vector<GapTask>& tasks, int64_t most_rows);

  // The evidence for the gap that follows those with these lengths.
  LengthEvidence evidence(const Template& longest, const std::vector<Gap>& gaps, const std::vector<int64_t>& lengths,
                          int64_t most_rows);

  int64_t forwards() const { return forwards_; }

 private:
  struct Questions;
  // log p(answer) of each question, in one forward.
  std::vector<double> ask(const Questions& questions);

  CheckedModel& model_;
  int64_t mask_token_id_;
  bool likeliest_;
  int64_t forwards_ = 0;
};

}  // namespace demask
