// What a transformer of the field computes, as a description.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/transformer_forms.h"

namespace demask {

// Above any real model; their products stay far below 2^63.
inline constexpr int64_t max_layers = 4096;
inline constexpr int64_t max_width = int64_t{1} << 20;
inline constexpr int64_t max_length = int64_t{1} << 24;

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
  std::string family;  // `name` of a Family
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

}  // namespace demask
