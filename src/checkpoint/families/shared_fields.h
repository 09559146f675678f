// Fields of config.json, and names of weights, that several families have in common.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "checkpoint/families/family.h"

namespace demask {

class ConfigReader;

// Llama's fields (Touvron et al. 2023), which Qwen2's, Qwen3's and Dream's are too: RMSNorm, SwiGLU, rotary positions,
// grouped queries. Biases and the norms of queries and keys are the family's to set.
Architecture read_llama_config(const ConfigReader& config, const char* family);
nlohmann::ordered_json write_llama_config(const Architecture& architecture);

// The names that go with them.
TensorNames llama_names();

// GPT-2's and nanoGPT's: layers, heads and width, and the names of their weights.
void read_gpt_shape(const ConfigReader& config, TransformerDescription& description);
TensorNames gpt_names();

// Refuses a sliding window that some layer uses.
void check_sliding_window(const ConfigReader& config, int64_t block_size);

// Refuses what changes the computation of a model of any family and is none of demask's.
void check_common_fields(const ConfigReader& config);

// An id below `outputs`, where the configuration names one.
std::optional<int64_t> read_mask_token(const ConfigReader& config, int64_t outputs);
void write_mask_token(nlohmann::ordered_json& config, const TransformerDescription& description);

}  // namespace demask
