// How sure a model is of tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "sampling/watched_model.h"

namespace demask {

// Untempered probability, softmax over all outputs, of tokens [B, T] under logits [B, T, V]: float32 [B, T].
// Sets `broken` where one is not a number.
at::Tensor token_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken);

// Its logarithm, nats. Where the probability is a true zero, -infinity.
at::Tensor token_log_probability(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken);

// Untempered, softmax over all outputs; each float32 [B, T].
struct Certainty {
  at::Tensor log_probability;  // of the token, nats
  at::Tensor margin;           // between the two highest probabilities
  at::Tensor entropy;          // of the distribution, nats
};

// logits [B, T, V], tokens [B, T]. Sets `broken` where a row has no finite largest logit.
Certainty measure_certainty(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& broken);

// The untempered probability of one class at every position.
at::Tensor class_probability(const at::Tensor& logits, int64_t number, const at::Tensor& broken);

// log p(token) at every position, nats, float32 [B, T]: one forward on tokens [B, T], untempered, softmax over all
// outputs, each token given the whole text it stands in. Its mean is the guide's self-confidence.
at::Tensor log_probability_in_place(WatchedModel& model, const at::Tensor& tokens);

// Means over the positions of each text, float64 [B], of log p(token) [B, T].
at::Tensor mean_log_probability(const at::Tensor& log_probability);

// The same for next-token models: each token given those before it, so over positions 1 .. T-1, and 0 where T is 1.
// Texts longer than the block are judged by their last block_size tokens.
at::Tensor next_token_confidence(WatchedModel& model, const at::Tensor& tokens);

// The same for texts of which only so many tokens each count, by a causal model that reads them all at once.
at::Tensor next_token_confidence(WatchedModel& model, const at::Tensor& tokens, const std::vector<int64_t>& lengths);

}  // namespace demask
