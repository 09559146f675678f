// A vocabulary of byte-level BPE: pieces of UTF-8 text that may begin or end within a character, as GPT-2 has them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/byte_pairs.h"
#include "text/piece_table.h"
#include "text/pre_tokenizer.h"
#include "text/vocabulary.h"

namespace demask {

// What a tokenizer's files say.
struct Tokenizer {
  PieceTable pieces;  // added tokens too
  BytePairs merges;
  bool ignore_merges = false;  // a word that is a piece is that piece, whatever the merges give
  bool nfc = false;            // texts are brought into Normalization Form C
  std::vector<PreTokenizerStep> steps;
  std::vector<AddedToken> added;
  std::optional<int64_t> mask, end_of_text;
  std::vector<int64_t> template_prefix;
};

class PieceVocabulary : public Vocabulary {
 public:
  explicit PieceVocabulary(Tokenizer tokenizer);

  int64_t size() const override { return tokenizer_.pieces.size(); }
  bool has_text(int64_t id) const override { return tokenizer_.pieces.has(id); }
  bool characters() const override { return false; }
  bool is_special(int64_t id) const override;
  std::optional<int64_t> mask_token_id() const override { return tokenizer_.mask; }
  std::optional<int64_t> end_of_text() const override { return tokenizer_.end_of_text; }
  std::vector<int64_t> template_prefix() const override { return tokenizer_.template_prefix; }
  // As the tokenizers library encodes without special tokens of its own. Throws besides where a pattern of the file
  // takes too long.
  Encoding encode(std::string_view text, bool parse_special = false) const override;
  std::string_view piece(int64_t id) const override { return tokenizer_.pieces.piece(id); }

 private:
  class WordEncoder;

  Tokenizer tokenizer_;
  std::vector<AddedToken> in_text_, in_normalized_;
  std::unique_ptr<AddedTokenFinder> find_in_text_, find_in_normalized_;
  std::vector<bool> is_special_;  // by id
};

}  // namespace demask
