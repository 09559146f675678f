// What a transformer of the field computes, as a description, and its weights under one set of names whatever family
// they come from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/transformer_forms.h"

namespace demask {

// Rotary frequencies for texts longer than those of training, as in Llama 3.1 (Dubey et al. 2024): wavelengths above
// original_positions / low_frequency_factor are stretched by `factor`, those below original_positions /
// high_frequency_factor stay, and between the two the frequency is interpolated.
struct RotaryScaling {
  double factor = 1;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  int64_t original_positions = 0;
};

// Pre-norm blocks: attention, then feed-forward, each added to the residual stream.
struct TransformerDescription {
  std::string family;  // "nanogpt", "gpt2", "llada", "dream", "qwen2", "qwen3", "llama", "mdlm"
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t key_value_heads = 0;     // divides heads: each serves heads / key_value_heads queries (Ainslie et al. 2023)
  int64_t head_width = 0;          // D; heads * D need not be the width
  int64_t width = 0;               // C
  int64_t feed_forward_width = 0;  // F
  int64_t block_size = 0;          // longest text
  int64_t vocabulary_size = 0;     // rows of the token embedding
  int64_t outputs = 0;             // V, rows of the head
  NormKind norm = NormKind::layer;
  double norm_epsilon = 1e-5;
  Activation activation = Activation::gelu;
  bool gated = false;   // activation(gate) * up, as in SwiGLU (Shazeer 2020)
  bool rotary = false;  // half-split as in GPT-NeoX (Su et al. 2021); else absolute positions
  double rotary_base = 10000;
  std::optional<RotaryScaling> rotary_scaling;
  bool bidirectional = false;
  bool shifted = false;                // the logits for position t stand at t - 1, and at 0 for position 0, as in Dream
  bool binary_classification = false;  // two outputs: a class for each position
  bool tied_head = false;              // the head's weight is the token embedding
  std::optional<int64_t> mask_token_id;  // where the checkpoint names it

  int64_t query_key_value_width() const { return (heads + 2 * key_value_heads) * head_width; }
};

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
