// How sure a model is of tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/language_model.h"
#include "sampling/checked_model.h"

namespace demask {

// Untempered probability, softmax over all outputs, of tokens [...] under logits [..., V]: float32 [...].
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

// The temperatures [B, T] float32 to draw at where a step's are `temperature` [B, 1] float32 and positions differ in
// their entropy H, as kernels::EntropyRule says; whole [B, 1] float32 above 0 is its H0. Sets `broken` as above.
at::Tensor temperatures_by_entropy(const at::Tensor& logits, const at::Tensor& temperature, const at::Tensor& whole,
                                   double power, const at::Tensor& broken);

// The untempered probability of one class at every position.
at::Tensor class_probability(const at::Tensor& logits, int64_t number, const at::Tensor& broken);

// log p(token) at every position, nats, float32 [B, T]: one forward on tokens [B, T], untempered, softmax over all
// outputs, each token given the whole text it stands in. Its mean is the guide's self-confidence.
at::Tensor log_probability_in_place(CheckedModel& model, const at::Tensor& tokens);

// Means over the positions of each text, float64 [B] on the host, of log p(token) [B, T] on any device. Waits for that.
at::Tensor mean_log_probability(const at::Tensor& log_probability);

// The same for next-token models: each token given those before it, so over positions 1 .. T-1, and 0 where T is 1. One
// forward on texts as they stand; texts longer than the block are judged by their last block_size tokens.
at::Tensor next_token_confidence(CheckedModel& model, const at::Tensor& tokens);

// Collects log p(token), nats, of texts that grow from left to right, each token given those before it, from the
// forwards that read or drew them.
class NextTokenScores {
 public:
  // For `batch` texts of at most `length` tokens. Beginnings count only by a model of which one forward gives what
  // follows each position: a causal one that gives every position.
  NextTokenScores(CheckedModel& model, int64_t batch, int64_t length);

  // The beginnings of texts [B, L], read by the session.
  void read(DecodingSession& session, const Beginnings& beginnings, const at::Tensor& texts);
  // tokens [B] at `position` [1] int64, under the logits [B, V] that precede them: part of a step that may be recorded.
  void draw(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& position);
  // [L, B] float32, where another may write what draw() would.
  const at::Tensor& table() const { return table_; }

  // Means [B] float64 on the host, of texts of so many tokens each (`lengths`) that begin with so many each (`given`),
  // over the tokens from the second on that count: those drawn, and of a beginning those with at most block_size tokens
  // before them. 0 where none does. Waits for the device.
  at::Tensor means(const std::vector<int64_t>& lengths, const std::vector<int64_t>& given) const;

 private:
  CheckedModel& model_;
  at::Tensor table_;  // [L, B] float32
};

}  // namespace demask
