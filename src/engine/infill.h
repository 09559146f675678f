// Templates: fixed texts, positions to fill, and gaps whose length is the model's to choose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "demask/sample.h"
#include "engine/prompt_tokens.h"
#include "sampling/gap_lengths.h"

namespace demask {

// What characters of a template stand for.
struct InfillMarks {
  std::string mask = "#";          // one code point: a position to fill
  std::optional<std::string> gap;  // one code point: from gap_least to gap_most of them
  int64_t gap_least = 1, gap_most = 1;
};

// The parts of a text with marks. Throws Error(bad_usage) where it is empty or has no mark.
std::vector<InfillPart> infill_parts(const std::string& text, const InfillMarks& marks);

// A template in which every gap is as long as it may be.
struct GappedTemplate {
  Template text;
  std::vector<Gap> gaps;  // of more than one possible length
};

// Each fixed text is read as a text of its own. The tokens that the vocabulary puts before every text come first.
// `key` is what messages call the parts. Throws Error as encode_text, and Error(bad_usage) where no part is to be
// filled, one has a length below 1 or its least above its most, or they are too many positions for any model.
GappedTemplate infill_template(const std::string& key, const std::vector<InfillPart>& parts,
                               const Vocabulary& vocabulary, int64_t mask_token_id, const TextReading& reading);

}  // namespace demask
