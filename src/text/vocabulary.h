// Characters (or any UTF-8 tokens) to ids and back, read from nanoGPT's meta.pkl or the same in meta.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace demask {

class Vocabulary {
 public:
  // Reads `path`, a pickle or JSON by its content. Throws Error(bad_input) naming the file and what is wrong with it.
  static Vocabulary read(const std::string& path);

  // `tokens[id]` is the text of an id, or nothing for an id without text.
  explicit Vocabulary(std::vector<std::optional<std::string>> tokens,
                      std::optional<int64_t> mask_token_id = std::nullopt);

  // One more than the largest id that has text.
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  bool has_text(int64_t id) const;
  // meta['mask_token_id'], if the file has one.
  std::optional<int64_t> mask_token_id() const { return mask_token_id_; }

  struct Encoding {
    std::vector<int64_t> ids;
    std::vector<std::string> unknown;  // each distinct code point that no token covers, in order of appearance
  };
  // Longest token first at each position; what no token covers is left out of `ids` and listed in `unknown`.
  // Throws Error(bad_input) where `text` is not UTF-8.
  Encoding encode(std::string_view text) const;

  // The text of one id: its token, "[MASK]" for `mask_id`, "[UNK]" for an id without text.
  std::string_view token(int64_t id, std::optional<int64_t> mask_id = std::nullopt) const;
  std::string decode(const std::vector<int64_t>& ids, std::optional<int64_t> mask_id = std::nullopt) const;

 private:
  // The id and length in bytes of the longest token that `text` starts with.
  std::optional<std::pair<int64_t, size_t>> longest_token(std::string_view text) const;

  std::vector<std::optional<std::string>> tokens_;
  std::optional<int64_t> mask_token_id_;
  std::unordered_map<std::string, int64_t> ids_;  // by text; the lowest where several share it
  std::vector<size_t> lengths_;                   // of the tokens, in bytes, each once, longest first
};

// The id of a token whose text is one that masks usually have ("[MASK]", "<mask>", "_"), for vocabularies that do not
// say which token is the mask.
std::optional<int64_t> likely_mask_token(const Vocabulary& vocabulary);

// For the end of a message that a model has no mask token: "The vocabulary has '[MASK]' as id 3: if that is the mask,
// set --mask_token_id=3.", or how to set one where no token looks like a mask.
std::string mask_token_advice(const Vocabulary& vocabulary);

}  // namespace demask
