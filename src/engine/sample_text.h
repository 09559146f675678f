// What outputs show of a sample.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/generator.h"

namespace demask {

// The text of a sample's tokens, prompt included: without those that the vocabulary puts before every text, and, where
// texts stop there, up to the first end-of-text token that was drawn. One that the prompt gives ends nothing.
std::string sample_text(const Context& context, const PreparedPrompt& prompt, const std::vector<int64_t>& tokens);

}  // namespace demask
