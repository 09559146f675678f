// What outputs show of a sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/generator.h"

namespace demask {

// How many of a sample's first tokens are its text, prompt included: all, or where texts stop there, those before the
// first end-of-text token that was drawn. One that the prompt gives ends nothing.
size_t text_length(const Context& context, const PreparedPrompt& prompt, const std::vector<int64_t>& tokens);

// The text of a sample's tokens, prompt included: text_length of them, without those that the vocabulary puts before
// every text.
std::string sample_text(const Context& context, const PreparedPrompt& prompt, const std::vector<int64_t>& tokens);

}  // namespace demask
