// What stays visible after a step, and what is masked again: one small class a strategy, in strategies/.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "kernels/cuda.h"
#include "sampling/checked_model.h"
#include "sampling/words.h"

namespace demask {

// The text after drawing, before anything is masked again. All [B, T] but for the logits.
struct Proposal {
  at::Tensor tokens;         // int64; masks only in blocks that are still to come, and where positions wait
  at::Tensor drawn;          // bool, drawn in this step
  at::Tensor probabilities;  // float32, under which each token was drawn; 1 where none was
  at::Tensor logits;  // [B, T, V] by which the tokens are judged, untempered: those that they were drawn from, or a
                      // second forward's on the filled text. Undefined where the policy does not judge
  at::Tensor broken;  // [] bool, to be set where a probability made from them is not a number
};

// Which positions a policy may choose from, and how many it must choose.
struct RemaskBudget {
  at::Tensor eligible;  // [B, T] bool: free positions of the block; no other is ever masked again
  at::Tensor count;     // [B, 1] int64
};

// The positions that a step masks again: named, or by a ranking, which nobody makes before it is asked for. A step's
// end on CUDA makes it while it writes the text.
class Choice {
 public:
  Choice(at::Tensor masked) : masked_(std::move(masked)) {}  // NOLINT(google-explicit-constructor): is one
  explicit Choice(kernels::cuda::RankedPositions ranked) : ranked_(std::move(ranked)) {}

  // bool [B, T]
  at::Tensor masked() const;
  const std::optional<kernels::cuda::RankedPositions>& ranked() const { return ranked_; }

 private:
  at::Tensor masked_;
  std::optional<kernels::cuda::RankedPositions> ranked_;
};

// A step as the policy sees it.
struct Turn {
  RemaskBudget budget;       // undefined count: the policy decides
  at::Tensor noise;          // [B, T] uniform in (0, 1)
  at::Tensor remasked;       // [B, 1] int64: of the count, those visible before, where the plan settles that
  at::Tensor reveal_chance;  // [B, 1] float32, of PlannedStep
  at::Tensor remask_chance;  // [B, 1] float32
  at::Tensor progress;       // [B, 1] float32: share of the steps that are done after this one
  at::Tensor noise_scale;    // [B, 1] float32, of PlannedStep
  at::Tensor noise_left;     // [B, 1] float32
  // [B, 1] int64: steps that follow in the block, for each of which a policy that decides leaves a position masked,
  // and none has to reveal more than its even part of those drawn. Undefined: it reveals one or more.
  at::Tensor steps_left;
  at::Tensor
      waiting;      // [B, T] bool: eligible positions that this step did not draw, to be masked again. Undefined: none
  WordEdges words;  // of the tokens, where the policy reads them and the vocabulary has them
  bool judged = false;  // a second forward is to judge: proposal.logits are its, or it is the policy's own model's
  // Where somebody wants it, a policy whose own model judges leaves here the probability [B, T] that each token is
  // right.
  at::Tensor* right = nullptr;
};

class RevealPolicy {
 public:
  virtual ~RevealPolicy() = default;

  // A batch of texts of this shape [B, T] begins. What a policy remembers stays at the same addresses from batch to
  // batch as long as the shape does.
  virtual void begin(const at::Tensor& /*tokens*/) {}

  // Of the eligible positions those to mask again. Runs as part of a recorded step, so it never asks the device.
  virtual Choice next_masked(const Proposal& proposal, const Turn& turn) = 0;

  // Whether next_masked reads proposal.logits in a turn that is judged, or is not.
  virtual bool reads_logits(bool /*judged*/) const { return false; }
  // Whether it reads which tokens make one word.
  virtual bool reads_words() const { return false; }
  // Whether the policy, not the plan, decides how many positions to reveal.
  virtual bool decides_counts() const { return false; }
  // Whether a text without masks is finished, although steps of its plan are left.
  virtual bool ends_when_filled() const { return false; }
  // Whether it has a model of its own, which runs in turns that are judged.
  virtual bool has_own_model() const { return false; }
  // Whether it wants to see the logits [B, T, V] of the first forward, before anything is drawn. Words as in a Turn.
  virtual bool looks_at_start() const { return false; }
  virtual void look_at_start(const at::Tensor& /*logits*/, const at::Tensor& /*eligible*/, const WordEdges& /*words*/) {
  }
  // Whether it changes the logits that tokens are drawn from.
  virtual bool weighs_logits() const { return false; }
  // The logits [B, T, V] to draw from in place of the model's, given the text tokens [B, T] and what of it is masked.
  // Runs as part of a recorded step.
  virtual at::Tensor weigh(const at::Tensor& logits, const at::Tensor& /*tokens*/, const at::Tensor& /*masked*/) const {
    return logits;
  }
  // Whether positions are drawn at temperatures of their own.
  virtual bool sets_temperatures() const { return false; }
  // They, [B, T] float32, given the logits [B, T, V] to draw from and the step's own temperature [B, 1] float32. Sets
  // `broken` where they are no numbers. Runs as part of a recorded step.
  virtual at::Tensor temperatures(const at::Tensor& /*logits*/, const at::Tensor& temperature,
                                  const at::Tensor& /*broken*/) const {
    return temperature;
  }
  // How often it must run before it does the same work each time, so that it can be recorded.
  virtual int64_t runs_before_recording() const { return 1; }
};

// The `count` eligible positions with the highest scores [B, T].
Choice highest(const at::Tensor& scores, const RemaskBudget& budget);
// The same of the lowest scores.
Choice lowest(const at::Tensor& scores, const RemaskBudget& budget);

// Of the positions `from` [B, T] bool about a share [B, 1] of each text, spread evenly over them as far as they go, and
// the others of them. Taken are those whose rank r among them has floor((r + 1) share + offset) > floor(r share +
// offset). offset [B, 1] in (0, 1); both float32. Systematic sampling: each is taken with probability `share`, and of n
// positions n * share, rounded down or up, are.
kernels::cuda::Parted spread(const at::Tensor& from, const at::Tensor& share, const at::Tensor& offset);

// Standard Gumbel noise from uniform: -log(-log u). Adding it to log weights and taking the highest k draws k without
// replacement in proportion to the weights (Kool et al. 2019).
at::Tensor gumbel(const at::Tensor& uniforms);

}  // namespace demask
