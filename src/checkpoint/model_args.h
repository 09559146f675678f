// The architecture that a nanoGPT checkpoint's model_args describe, and the parameters that it has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/transformer_description.h"

namespace demask {

struct PickleValue;

// The architecture, with nanoGPT's names and defaults.
struct ModelArgs {
  int64_t n_layer = 0;
  int64_t n_head = 0;
  int64_t n_embd = 0;
  int64_t block_size = 0;
  int64_t vocab_size = 0;
  bool bias = false;
  bool bidirectional = false;            // attention_type == 'bidirectional'; missing is causal
  bool rotary = false;                   // position_encoding == 'rotary'; missing is absolute
  bool binary_classification = false;    // lm_head gives two classes
  bool tied_head = false;                // no lm_head.weight of its own in the checkpoint
  std::optional<int64_t> mask_token_id;  // where the training code wrote it here

  int64_t output_size() const { return binary_classification ? 2 : vocab_size; }
};

// Reads the dict 'model_args' of the checkpoint at `path`; tied_head stays open. Keys beside those above are read past
// where they cannot change what the model computes (dropout, initialisation, kernels), and those that forks of nanoGPT
// add to its architecture where their value says what demask computes anyway (rope_theta = 10000, n_kv_head = n_head,
// softcap = None). Throws Error(bad_input) for any other key, and for values that no model has.
ModelArgs read_model_args(const PickleValue& dict, const std::string& path);

// The transformer that they describe. Sources: Radford et al. 2019 (GPT-2); Karpathy's nanoGPT.
TransformerDescription description_of(const ModelArgs& args);

// Names in the state dict.
inline constexpr const char* token_embedding_name = "transformer.wte.weight";
inline constexpr const char* head_name = "lm_head.weight";

// The state-dict names and shapes that a model of this architecture has; lm_head.weight is left out when tied_head.
std::vector<std::pair<std::string, std::vector<int64_t>>> expected_parameters(const ModelArgs& args);

}  // namespace demask
