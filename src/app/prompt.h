// What the user gives as text (a prompt, a prefix, a template) turned into tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/work_list.h"
#include "sampling/diffusion_sampler.h"
#include "text/vocabulary.h"

namespace demask {

// nanoGPT's FILE:path form names a file that holds the text; anything else is the text itself.
// Throws Error(bad_input) naming key and path where the file cannot be read.
std::string read_text_argument(const std::string& key, const std::string& value);

// The text that a prompt gives under `key`: as read_text_argument for the run's own. A list is data, perhaps somebody
// else's, and opens no files.
std::string text_of(const WorkItem& item, const std::string& key, const std::string& value);

// What becomes of characters outside the vocabulary.
struct UnknownCharacters {
  bool skip = false;   // drop them; else they are an error
  bool quiet = false;  // without a notice
};

// The ids of `text`. Characters outside the vocabulary are an Error(bad_input) that names `key` and each of them, or
// are dropped, with a notice on stderr.
std::vector<int64_t> encode_text(const std::string& key, const std::string& text, const Vocabulary& vocabulary,
                                 const UnknownCharacters& unknown);

// A prefix of fixed tokens, then free positions up to `length`. Throws Error(bad_usage) where the prefix leaves none.
Template prefix_template(const std::vector<int64_t>& prefix, int64_t length, int64_t mask_token_id);

// Every `mask_character` (one code point) of `text` is a free position, all else is fixed.
// Throws Error(bad_usage) where the text is empty or has nothing to fill.
Template infill_template(const std::string& text, const std::string& mask_character, const Vocabulary& vocabulary,
                         int64_t mask_token_id, const UnknownCharacters& unknown);

}  // namespace demask
