// The weights of a transformer as the CPU kernels read them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "checkpoint/transformer.h"
#include "kernels/cpu.h"

namespace demask {

struct CpuNorm {
  at::Tensor weight, bias;  // [n] float32; undefined where there is none
};

struct CpuBlock {
  CpuNorm attention_norm;
  kernels::cpu::Linear query_key_value;
  CpuNorm query_norm, key_norm;
  kernels::cpu::Linear attention_projection;
  CpuNorm feed_forward_norm;
  kernels::cpu::Linear expand, contract;
};

struct CpuWeights {
  at::Tensor token_embedding;     // [rows, C] elements; undefined where the head's panels hold it
  at::Tensor position_embedding;  // [block, C] float32, absolute positions only
  at::Tensor cosine, sine;        // [block, D / 2] float32, rotary positions only
  std::vector<CpuBlock> blocks;
  CpuNorm final_norm;
  kernels::cpu::Linear head;
};

// Takes the weights out of `from`, each of them when it has been packed, so that no more than one is in memory twice.
CpuWeights take_weights(const kernels::cpu::Isa& isa, TransformerWeights& from);

// The embedding of a token -> x [C].
void embed_token(const kernels::cpu::Isa& isa, const CpuWeights& weights, int64_t token, int64_t width, float* x);

}  // namespace demask
