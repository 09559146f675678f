// A vocabulary of characters, or of any UTF-8 texts, as nanoGPT's character datasets have.
#pragma once

#include <unordered_map>
#include <utility>

#include "text/vocabulary.h"

namespace demask {

class CharacterVocabulary : public Vocabulary {
 public:
  // `tokens[id]` is the text of an id, or nothing for an id without text.
  explicit CharacterVocabulary(std::vector<std::optional<std::string>> tokens,
                               std::optional<int64_t> mask_token_id = std::nullopt);

  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  bool has_text(int64_t id) const override;
  bool characters() const override { return true; }
  bool is_special(int64_t /*id*/) const override { return false; }
  // meta['mask_token_id'], if the file has one.
  std::optional<int64_t> mask_token_id() const override { return mask_token_id_; }
  std::optional<int64_t> end_of_text() const override { return std::nullopt; }
  std::vector<int64_t> template_prefix() const override { return {}; }
  // Longest token first at each position.
  Encoding encode(std::string_view text, bool parse_special = false) const override;
  std::string_view piece(int64_t id) const override;

 private:
  // The id and length in bytes of the longest token that `text` starts with.
  std::optional<std::pair<int64_t, size_t>> longest_token(std::string_view text) const;

  std::vector<std::optional<std::string>> tokens_;
  std::optional<int64_t> mask_token_id_;
  std::unordered_map<std::string, int64_t> ids_;  // by text; the lowest where several share it
  std::vector<size_t> lengths_;                   // of the tokens, in bytes, each once, longest first
};

}  // namespace demask
