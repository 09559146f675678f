// Scoring as a generator, so that lists of texts go the way of lists of prompts: in batches, shards and resumed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/generator.h"

namespace demask {

// As make_generator, for score. A prompt is a text to score: its start_text or tokens, after what is given. "Drawn"
// samples have a score, and as tokens the whole text.
std::unique_ptr<Generator> make_scoring_generator(const Context& context, const std::function<bool()>& gives_up);

// The tokens of a text that are scored: its last.
std::vector<int64_t> scored_tokens(const PreparedPrompt& prompt);

}  // namespace demask
