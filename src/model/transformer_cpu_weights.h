// The weights of a transformer as the CPU kernels read them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
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
  std::shared_ptr<const MappedFile> file;  // that linear layers lie in, as they are stored; or none
};

// How a model's linear layers are kept: as panels, or as they are stored in a mapped file, where they lie there in
// float32. Products have the same bits.
enum class LinearForm { panels, stored };

// The faster one of a model that is asked for about so many forwards.
LinearForm form_for(const kernels::cpu::Isa& isa, int64_t forwards);

// Reads the source part by part, keeping it in this form where it can. Panels take little memory beside: parts that
// have to be whole before they are packed are read from the largest on, while little else is there, and last the head
// that is the token embedding, of which some rows are enough. Throws as the source does.
CpuWeights read_weights(const kernels::cpu::Isa& isa, WeightSource& source, LinearForm form);

// Before and after a forward: throws Error(bad_input) where weights lie in a file that has been written to.
void check_file(const CpuWeights& weights);

// After a block's forward: gives the file's pages back where its weights take more memory as they are stored than as
// panels.
void drop_used(const kernels::cpu::Isa& isa, const CpuWeights& weights, const CpuBlock& block);

// The embedding of a token -> x [C].
void embed_token(const kernels::cpu::Isa& isa, const CpuWeights& weights, int64_t token, int64_t width, float* x);

}  // namespace demask
