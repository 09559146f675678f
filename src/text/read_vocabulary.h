// Reads a vocabulary of any kind that demask knows.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/names.h"
#include "text/vocabulary.h"

namespace demask {

// What a vocabulary's file is, told by its content.
enum class VocabularyKind { meta, tokenizer, pieces, merges, ranks };
template <>
inline constexpr std::array<std::string_view, 5> names_of<VocabularyKind>{
    "nanoGPT's meta", "tokenizer.json", "vocab.json with merges.txt", "merges.txt alone", "ranks as tiktoken's"};

// Throws Error(bad_input) where the file cannot be read, or is of a kind that holds no vocabulary. JSON of which no
// other kind is known counts as meta.
VocabularyKind vocabulary_kind(const std::string& path);

// The file of a folder that says its vocabulary: tokenizer.json, vocab.json with merges.txt, the first *.tiktoken by
// name, merges.txt alone, meta.pkl, meta.json, the first of these that is there; nothing where none is.
std::optional<std::string> vocabulary_in(const std::string& folder);

// `path` is a file, told apart by its content: the tokenizers library's tokenizer.json; vocab.json, with merges.txt
// beside it; merges.txt; a rank file as tiktoken's; nanoGPT's meta.pkl or the same in meta.json. Or it is a folder with
// one of these.
// Throws Error(bad_input) naming the file and what is wrong with it, or what it asks for and demask does not do.
std::unique_ptr<Vocabulary> read_vocabulary(const std::string& path);

}  // namespace demask
