// What every step did to one text, and how sure the model was: what a sampler gives for the texts that are traced.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace demask {

// How many of the likeliest tokens are traced.
inline constexpr int64_t traced_likeliest = 3;

// On the host. S steps, T positions, K = min(traced_likeliest, V); in standard sampling, where a step draws one
// position, S is 1 and the other tensors hold what the step that drew the position saw.
// Probabilities are the model's own, untempered, softmax over all its outputs.
struct StepTrace {
  at::Tensor filled;      // [S, T] int64: the text after drawing, the mask id where nothing was drawn yet
  at::Tensor masked;      // [S, T] bool: masked when the step ended
  at::Tensor confidence;  // [S, T] float32: of the token in `filled`, by the forward that the step drew from; in
                          // standard sampling 0 in the prompt
  // [S, T] float32: that it is right, by the second forward or the remasking model that judged it; not a number in
  // steps that had none. Undefined where no step had.
  at::Tensor judged;
  at::Tensor likeliest;                // [S, T, K] int64: of those that may be drawn, the likeliest first
  at::Tensor likeliest_probabilities;  // [S, T, K] float32
  at::Tensor final_confidence;         // [T] float32: probability of each token in the finished text
  std::vector<int64_t> scheduled;      // positions that the plan leaves masked after each step; empty where the policy
                                       // decides, and in standard sampling
};

}  // namespace demask
