// What the user gives as text (a prompt, a prefix, a template) turned into tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "demask/sample.h"
#include "model/language_model.h"
#include "sampling/diffusion_sampler.h"
#include "text/vocabulary.h"

namespace demask {

// nanoGPT's FILE:path form names a file that holds the text; anything else is the text itself.
// Throws Error(bad_input) naming key and path where the file cannot be read.
std::string read_text_argument(const std::string& key, const std::string& value);

// The file that a text argument names in that form; none where it is the text itself.
std::optional<std::string> named_file(const std::string& value);

// The settings' own prompt: start_text or infill_text, and pattern, read from their files. Throws as
// read_text_argument. Prompts of a list are data, perhaps somebody else's, and open no files.
Prompt own_prompt(const Config& config);

// The settings' own pattern, read from its file, whose last line end is no part of it; none where they have none.
// Throws as read_text_argument.
std::optional<std::string> own_pattern(const Config& config);

// How a prompt's text is read.
struct TextReading {
  bool skip_unknown = false;   // drop characters outside the vocabulary; else they are an error
  bool quiet = false;          // without a notice
  bool parse_special = false;  // the text of a special token is that token
};

// As the settings say.
TextReading text_reading(const Config& config, bool quiet);

// The ids of `text`. Characters outside the vocabulary are an Error(bad_input) that names `key` and each of them, or
// are dropped, with a notice on stderr.
std::vector<int64_t> encode_text(const std::string& key, const std::string& text, const Vocabulary& vocabulary,
                                 const TextReading& reading);

// The ids of a prompt's tokens as they are, or of its start_text after those that the vocabulary puts before every
// text; none where it has neither and the vocabulary none. Throws Error as encode_text, Error(bad_input) where an id of
// `tokens` is not in the vocabulary or the model, naming it and its position, and Error(bad_usage) where the prompt has
// more than one of start_text, infill_text, infill and tokens.
std::vector<int64_t> prompt_ids(const Prompt& prompt, const Vocabulary& vocabulary, const ModelInfo& model,
                                const TextReading& reading);

// Throws Error(bad_input) where an id is not in the vocabulary or the model, naming `key`, the id and its position.
void check_ids(const std::string& key, const std::vector<int64_t>& ids, const Vocabulary& vocabulary,
               const ModelInfo& model);

// How many of the prompt's first ids the vocabulary put there: they are no part of its text.
size_t unshown_tokens(const Prompt& prompt, const Vocabulary& vocabulary);

// Throws Error(bad_usage) that names token and position where a fixed token of the template is the mask: a text that is
// given cannot hold it, for it would be filled.
void check_has_no_mask(const std::string& key, const Template& text, int64_t mask_token_id,
                       const Vocabulary& vocabulary);

// A prefix of fixed tokens, then free positions up to `length`. Throws Error(bad_usage), which calls the prefix `key`,
// where it leaves none.
Template prefix_template(const std::string& key, const std::vector<int64_t>& prefix, int64_t length,
                         int64_t mask_token_id);

}  // namespace demask
