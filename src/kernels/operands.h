// What the steps of a forward and of sampling are given, whether a CUDA kernel or LibTorch's operations compute them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "core/transformer_forms.h"

namespace demask::kernels {

struct Norm {
  at::Tensor weight;  // [C]
  at::Tensor bias;    // [C], or undefined
  double epsilon = 0;
  NormKind form = NormKind::layer;
};

// What stands in a row of queries, keys and values [(H + 2K) * D], and what happens to its queries and keys.
struct Heads {
  int64_t queries = 0;      // H
  int64_t keys = 0;         // K, which divides H: each serves H / K neighbouring queries
  at::Tensor query_weight;  // [D] of an RMSNorm of each query before rotation, or undefined: none
  at::Tensor key_weight;    // the same for keys
  double norm_epsilon = 0;  // of both
  at::Tensor cosine, sine;  // [positions, D / 2] float32, half-split rotation; or undefined: none
};

struct Embedding {
  at::Tensor token;     // [V, C]
  at::Tensor position;  // [block, C], or undefined
};

// What shapes the distribution that a token is drawn from.
struct DrawFilters {
  double temperature = 0.8;      // 0 is greedy
  double top_p = 1.0;            // nucleus; 1 is off
  std::optional<int64_t> top_k;  // none is off
  // float32 above 0, in place of `temperature`: of logits [B, T, V] one for each sample [B, 1] or position [B, T]; or
  // undefined.
  at::Tensor temperatures;
};

struct Stability {
  double probability = 0;  // at least
  double divergence = 0;   // nats, less in each of the last `history` steps
  int64_t history = 1;
};

// Where steps are traced, a slot each.
struct TraceTables {
  at::Tensor tokens;                   // [slots, ...] int64, or undefined
  at::Tensor masked;                   // [slots, ...] bool, or undefined
  at::Tensor confidence;               // [slots, ...] float32: softmax(logits) of the token
  at::Tensor likeliest;                // [slots, ..., K] int64: of those not forbidden, the lower id first among equals
  at::Tensor likeliest_probabilities;  // [slots, ..., K] float32, of softmax(logits)
};

// The K of TraceTables at most.
inline constexpr int64_t max_traced_likeliest = 3;

}  // namespace demask::kernels
