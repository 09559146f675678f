// The weights of a transformer as the CPU kernels read them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "checkpoint/weight_source.h"
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
  at::Tensor token_embedding;     // [rows, C] as the source has it; undefined where the head's panels hold it
  at::Tensor position_embedding;  // [block, C] float32, absolute positions only
  at::Tensor cosine, sine;        // [block, D / 2] float32, rotary positions only
  std::vector<CpuBlock> blocks;
  CpuNorm final_norm;
  kernels::cpu::Linear head;
};

// Reads the source part by part: those that have to be whole before they are packed from the largest on, while little
// else is in memory, and last the head that is the token embedding, of which some rows are enough. Throws as the source
// does.
CpuWeights pack_weights(const kernels::cpu::Isa& isa, WeightSource& source);

// The embedding of a token -> x [C].
void embed_token(const kernels::cpu::Isa& isa, const CpuWeights& weights, int64_t token, int64_t width, float* x);

}  // namespace demask
