// How sure a model is of a finished text.
#pragma once

#include <ATen/core/Tensor.h>

#include "demask/model/language_model.h"

namespace demask {

// Mean log p(token) over the positions of each text, nats, float64 [B]: one forward on tokens [B, T], untempered,
// softmax over all outputs, each token given the whole text it stands in (the guide's self-confidence).
at::Tensor self_confidence(LanguageModel& model, const at::Tensor& tokens);

// The same for next-token models: each token given those before it, so over positions 1 .. T-1, and 0 where T is 1.
// Texts longer than the block are judged by their last block_size tokens.
at::Tensor next_token_confidence(LanguageModel& model, const at::Tensor& tokens);

}  // namespace demask
