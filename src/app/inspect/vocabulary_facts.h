// What a vocabulary is, as facts for a report.
#pragma once

#include <nlohmann/json.hpp>

#include "text/vocabulary.h"

namespace demask {

// Tokens, what they are, the mask and the end of text, special tokens, and the characters where they are such.
nlohmann::ordered_json vocabulary_facts(const Vocabulary& vocabulary);

}  // namespace demask
