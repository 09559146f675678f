// Whether a model and a vocabulary go together, and what its ids are for: which is the mask, which are drawn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/model_info.h"
#include "text/vocabulary.h"

namespace demask {

// Throws Error(bad_input) where the vocabulary has ids that the model does not; says in a notice where the model has
// many more, beyond what pads it.
void check_vocabulary(const Vocabulary& vocabulary, const std::string& vocabulary_path, const ModelInfo& model,
                      const std::string& checkpoint);

// The flag, else what the model's checkpoint says, else the vocabulary (for characters the other way round), else the
// first id past the vocabulary. None where the model has no such row. Throws Error(bad_usage) where the flag names an
// id that the model does not have.
std::optional<int64_t> resolve_mask_token(std::optional<int64_t> flag, const Vocabulary& vocabulary,
                                          const ModelInfo& model);

// Ids that may be sampled: those with text, but neither the mask nor special tokens other than the end of text.
std::vector<int64_t> allowed_tokens(const Vocabulary& vocabulary, std::optional<int64_t> mask_token_id);

// Throws Error(bad_input) where a model of this description fills no masks.
void check_diffusion_model(const ModelInfo& info, const std::string& checkpoint, const Vocabulary& vocabulary,
                           std::optional<int64_t> mask_token_id);

}  // namespace demask
