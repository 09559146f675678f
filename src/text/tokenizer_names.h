// Which tokens of a tokenizer are the mask and the end of a text, by what its files call them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"

namespace demask {

// Of tokenizer_config.json and special_tokens_map.json beside a tokenizer.
struct TokenNames {
  std::optional<std::string> mask, end_of_text;
  std::vector<std::string> special;  // every token that has a role
  std::optional<std::string> tokenizer_class;
  std::optional<bool> add_prefix_space;
  std::vector<AddedToken> added;  // tokenizer_config's added_tokens_decoder
};

// Reads those of the two files that are in `folder`, and `tokenizer_config.json` first. Throws Error(bad_input) where
// one is not JSON or has a value of the wrong type.
TokenNames read_token_names(const std::string& folder);

// added_tokens.json: texts and their ids. Empty where there is no such file.
std::vector<AddedToken> read_added_tokens(const std::string& folder);

// The id of the token that `name` says, else of the first special one that has one of the usual names.
std::optional<int64_t> mask_of(const std::vector<AddedToken>& added, const std::optional<std::string>& name);
std::optional<int64_t> end_of_text_of(const std::vector<AddedToken>& added, const std::optional<std::string>& name);

}  // namespace demask
