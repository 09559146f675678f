// tokenizer.json of the tokenizers library, with a model of byte-level BPE.
#pragma once

#include <memory>
#include <string>

#include "text/vocabulary.h"

namespace demask {

// `content` is that of `path`, which errors name. The mask and the end of a text are what tokenizer_config.json and
// special_tokens_map.json beside it call so.
// Throws Error(bad_input) where it contradicts itself, and naming what demask does not do: models other than BPE,
// normalizers other than NFC, pre-tokenizers other than ByteLevel, Split and Digits, decoders other than ByteLevel.
std::unique_ptr<Vocabulary> read_tokenizer_json(const std::string& content, const std::string& path);

}  // namespace demask
