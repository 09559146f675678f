// Byte-level BPE as it is released without tokenizer.json: vocab.json with merges.txt, merges.txt alone, rank files.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace demask {

// `content` is that of the vocab.json at `path`; merges.txt lies beside it, and what there is of added_tokens.json,
// tokenizer_config.json and special_tokens_map.json, as Hugging Face's tokenizers in Python write them. The class named
// in tokenizer_config.json says how texts are cut: GPT-2's words where none is named.
// Throws Error(bad_input).
std::unique_ptr<Vocabulary> read_vocab_json(const std::string& content, const std::string& path);

// `content` is that of the merges.txt at `path`, of a vocabulary numbered as GPT-2's is: the 256 bytes, each merge's
// piece in turn, <|endoftext|>. Throws Error(bad_input).
std::unique_ptr<Vocabulary> read_merges_alone(const std::string& content, const std::string& path);

// `content` is that of a rank file at `path`, as tiktoken has them: lines of a piece in base64 and its id, which is its
// rank too. How texts are cut and which special tokens follow goes by the number of pieces, for OpenAI's, Qwen's
// and Llama 3's files; others are cut as GPT-2 cuts, and a notice says so. Throws Error(bad_input).
std::unique_ptr<Vocabulary> read_rank_file(const std::string& content, const std::string& path);

// Whether a file's start looks like one of merges.txt or of a rank file.
bool looks_like_merges(std::string_view content);
bool looks_like_ranks(std::string_view content);

}  // namespace demask
