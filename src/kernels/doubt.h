// How much speaks against the token that stands at a position.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace demask::kernels {

// Of the text after a step. B texts of T positions, V outputs.
struct DoubtTerms {
  at::Tensor log_probability;   // [B, T] float32: of the token in place, nats
  at::Tensor tokens;            // [B, T] int64
  at::Tensor drawn;             // [B, T] bool: in this step
  at::Tensor eligible;          // [B, T] bool: may be masked again
  at::Tensor waiting;           // [B, T] bool: eligible, and holds no token yet. Undefined: none
  at::Tensor noise;             // [B, T] float32, uniform in (0, 1)
  at::Tensor noise_scale;       // [B, 1] float32
  at::Tensor noise_left;        // [B, 1] float32
  at::Tensor vocabulary_noise;  // [B, 1] float32: noise beside noise_scale. Undefined: none
  at::Tensor weight;            // [B, V] float32: of each token's surprise. Undefined: 1
  at::Tensor begins_within;     // [V] bool: WordEdges of sampling/words.h. Undefined: no words are told apart
  at::Tensor ends_within;       // [V] bool
};

// Of a position whose token has the surprise s = -log p * weight, and S is the highest surprise of its word's tokens:
//   s + word_share * (S - s) - new_token_bonus * [drawn]
//     - choice_temperature * hypot(noise_scale, vocabulary_noise) * noise_left * (G + noise_share * (L - G)),
// where G = -log(-log u) is the position's Gumbel noise and L the lowest of its word's. Words are made by at most
// longest_word tokens that are eligible and do not wait; a position that waits has last_masked.
struct DoubtRule {
  double word_share = 0;
  double noise_share = 0;
  double new_token_bonus = 0;     // nats
  double choice_temperature = 0;  // 0: no noise is read
};

inline constexpr double last_masked = 1e9;  // a doubt above all others
// A longer run of letters is no word: a sequence of bases, say, or a number in base 64.
inline constexpr int64_t longest_word = 64;  // tokens

}  // namespace demask::kernels
