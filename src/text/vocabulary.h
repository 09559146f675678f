// Token ids to text and back, whatever the tokens are: characters (CharacterVocabulary) or pieces of byte-level BPE
// (PieceVocabulary). Callers do not know which.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  virtual ~Vocabulary() = default;

  // One more than the largest id that has text.
  virtual int64_t size() const = 0;
  // True for every id that stands for a text, special tokens too; false for gaps and ids past the end.
  virtual bool has_text(int64_t id) const = 0;
  // True where the tokens are characters, or texts that meta.pkl lists; then a text may have what no token covers.
  virtual bool characters() const = 0;
  // True for tokens that are no text of their own but marks for the model: end of text, mask, turns of a chat.
  virtual bool is_special(int64_t id) const = 0;

  // The mask, if the vocabulary says which token that is.
  virtual std::optional<int64_t> mask_token_id() const = 0;
  // The token that ends a text, if there is one.
  virtual std::optional<int64_t> end_of_text() const = 0;
  // The special tokens that the tokenizer's template puts before a text, such as a begin-of-text token; `encode` does
  // not add them.
  virtual std::vector<int64_t> template_prefix() const = 0;

  struct Encoding {
    std::vector<int64_t> ids;
    std::vector<std::string> unknown;  // each distinct code point that no token covers, in order of appearance
  };
  // What no token covers is left out of `ids` and listed in `unknown`. The texts of special tokens are those tokens
  // where `parse_special`, else text like any other. Throws Error(bad_input) where `text` is not UTF-8.
  virtual Encoding encode(std::string_view text, bool parse_special = false) const = 0;

  // The bytes that an id stands for, which may begin or end within a character; of a special token its text; empty
  // for an id without text. Lives as long as the vocabulary.
  virtual std::string_view piece(int64_t id) const = 0;

  // To show one id: its piece, "[MASK]" for `mask_id`, "[UNK]" for an id without text.
  std::string_view token(int64_t id, std::optional<int64_t> mask_id = std::nullopt) const;
  // The tokens one after another as UTF-8; what is not UTF-8 as repair_utf8 has it.
  std::string decode(const std::vector<int64_t>& ids, std::optional<int64_t> mask_id = std::nullopt) const;
  // The pieces one after another, exactly.
  std::string bytes(const std::vector<int64_t>& ids) const;
};

// The id of a token whose text is one that masks usually have ("[MASK]", "<mask>", "_"), for vocabularies that do not
// say which token is the mask.
std::optional<int64_t> likely_mask_token(const Vocabulary& vocabulary);

// For the end of a message that a model has no mask token: "The vocabulary has '[MASK]' as id 3: if that is the mask,
// set --mask_token_id=3.", or how to set one where no token looks like a mask.
std::string mask_token_advice(const Vocabulary& vocabulary);

}  // namespace demask
