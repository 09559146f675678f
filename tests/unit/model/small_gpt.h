// A GPT of a few thousand random parameters, made in memory.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "checkpoint/nanogpt_weights.h"

namespace demask::testing {

// The same parameters each time, of a size at which predictions differ from token to token.
inline NanoGptCheckpoint small_gpt(int64_t block_size, int64_t vocabulary, bool bidirectional = false) {
  NanoGptCheckpoint checkpoint;
  ModelArgs& args = checkpoint.args;
  args.n_layer = 2;
  args.n_head = 2;
  args.n_embd = 16;
  args.block_size = block_size;
  args.vocab_size = vocabulary;
  args.tied_head = true;
  args.bidirectional = bidirectional;
  double phase = 1;
  for (const auto& [name, shape] : expected_parameters(args)) {
    const at::Tensor numbers = at::arange(c10::multiply_integers(shape), at::kDouble).mul(12.9898).add(phase++).sin();
    checkpoint.parameters[name] = numbers.mul(43758.5453).frac().view(shape).to(at::kFloat);
  }
  return checkpoint;
}

inline NanoGptCheckpoint with_dtype(NanoGptCheckpoint checkpoint, at::ScalarType dtype) {
  for (auto& [name, parameter] : checkpoint.parameters) {
    parameter = parameter.to(dtype);
  }
  return checkpoint;
}

}  // namespace demask::testing
