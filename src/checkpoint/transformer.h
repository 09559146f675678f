// A transformer's weights under one set of names whatever family they come from.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/transformer_description.h"

namespace demask {

struct LinearWeights {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out], or undefined
};

struct NormWeights {
  at::Tensor weight;  // [C]; undefined where there is no norm
  at::Tensor bias;    // [C], or undefined
};

struct LayerWeights {
  NormWeights attention_norm;
  LinearWeights query_key_value;       // [(H + 2K) * D, C]: queries, keys, values
  NormWeights query_norm;              // [D] of each head before rotation, or undefined (Qwen3)
  NormWeights key_norm;                // [D], or undefined
  LinearWeights attention_projection;  // [C, H * D]
  NormWeights feed_forward_norm;
  LinearWeights expand;    // [F, C], or the gate's rows and then up's [2F, C] where it is gated
  LinearWeights contract;  // [C, F]
};

// All in one dtype on one device.
struct TransformerWeights {
  TransformerDescription description;
  at::Tensor token_embedding;     // [rows, C]
  at::Tensor position_embedding;  // [block, C], absolute positions only
  std::vector<LayerWeights> layers;
  NormWeights final_norm;
  LinearWeights head;                  // [V, C]; the token embedding itself where it is tied
  std::optional<std::string> dataset;  // that the checkpoint names
};

}  // namespace demask
