// What a model's configuration says of it: the transformer, and which of its parts have weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "checkpoint/transformer_description.h"

namespace demask {

// Which parts have a bias beside their weight.
struct Biases {
  bool norms = false;
  bool query_key_value = false;
  bool attention_projection = false;
  bool feed_forward = false;
  bool head = false;
};

struct Architecture {
  TransformerDescription description;
  Biases biases;
  bool query_key_norms = false;            // of each head, as in Qwen3
  std::optional<bool> tied_head;           // empty: the configuration leaves it to whether a head is stored
  std::optional<std::string> dataset;      // that it was trained on
  std::optional<int64_t> condition_width;  // MDLM's, of the embedding of time
};

}  // namespace demask
