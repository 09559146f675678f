// Words of texts whose tokens are letters or pieces of words.
#pragma once

#include <ATen/core/Tensor.h>

namespace demask {

// What each token of a vocabulary does to the words around it. Both [V] bool on the model's device.
struct WordEdges {
  at::Tensor begins_within;  // it goes on with a word that the token before it leaves open
  at::Tensor ends_within;    // it leaves a word open
  bool of_letters = false;   // tokens are characters

  bool defined() const { return begins_within.defined(); }
};

// Of scores [B, T] float32, within a hundred thousand of 0, the highest of all tokens of a position's word. Of tokens
// [B, T] int64 only those that are `counted` [B, T] bool make words, at most kernels::longest_word of them one; the
// others keep their scores.
at::Tensor highest_of_word(const at::Tensor& scores, const at::Tensor& tokens, const at::Tensor& counted,
                           const WordEdges& edges);

}  // namespace demask
