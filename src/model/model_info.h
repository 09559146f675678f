// What is known of a model beside its weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/transformer_description.h"
#include "core/element_type.h"

namespace demask {

struct ModelInfo {
  std::string
      description;  // for headers and messages, for example "6 layers, 4 heads, 256 wide, rotary, bidirectional"
  ElementType dtype = ElementType::float32;  // of weights and activations; int8 where products are
  int64_t output_size = 0;                   // V, the width of the logits
  int64_t input_size = 0;                    // ids it accepts are below this, or 0 where the model does not say
  int64_t block_size = 0;                    // longest sequence, or 0 where the model does not say
  bool causal = false;                       // known: a position sees only those before it
  bool bidirectional = false;  // known: a position sees those after it too; neither is set where it is not known
  bool every_position = true;  // false: gives logits at the last position only
  bool binary_classification = false;    // the logits are two classes, not tokens
  bool keeps_cache = false;              // a session computes only the new token of a text that fits the block
  bool keeps_blocks = false;             // begin_blocks gives a cache
  std::optional<std::string> dataset;    // the dataset named in the training configuration
  std::optional<int64_t> mask_token_id;  // the mask token, where the checkpoint's model_args name it
  std::vector<std::string> notices;      // what the user should be told of how the model is run
};

// Of a transformer that demask runs natively, by its description and the dataset that its checkpoint names; the
// precision stays open.
ModelInfo info_of(const TransformerDescription& of, std::optional<std::string> dataset);

}  // namespace demask
