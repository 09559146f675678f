// Puts a Tokenizer together from what any of its file formats says, and refuses what contradicts itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/piece_vocabulary.h"

namespace demask {

// Every function throws Error(bad_input) that names `path` and the piece, token or id which cannot be.
class TokenizerBuilder {
 public:
  explicit TokenizerBuilder(std::string path);

  [[noreturn]] void refuse(const std::string& why) const;

  // A piece written in byte letters (byte_letters.h). One with other characters is a text that no merge makes.
  void add_piece(std::string_view letters, int64_t id);
  void add_piece_bytes(std::string_view bytes, int64_t id);
  // In the order of their ranks, each in byte letters.
  void add_merge(std::string_view left, std::string_view right);
  // "left right"
  void add_merge(std::string_view both);
  void add_token(AddedToken token);

  // Every merge of two pieces side by side that are a third, ranked by that one's id: what a rank file means.
  void merge_by_ids();

  Tokenizer& tokenizer() { return tokenizer_; }
  // After the last addition; `mask` and `end_of_text` are names that tokens have, or nothing.
  Tokenizer finish(const std::optional<std::string>& mask, const std::optional<std::string>& end_of_text);

 private:
  std::optional<int64_t> find(std::string_view letters) const;
  void resolve_merges();
  void resolve_tokens();
  void take_up(int64_t id, std::string_view bytes, bool findable);

  std::string path_;
  Tokenizer tokenizer_;
  std::unordered_map<std::string, int64_t> other_texts_;  // pieces that are not in byte letters
  std::string merge_letters_;                             // left and right of each merge
  std::vector<std::pair<uint32_t, uint32_t>> merge_lengths_;
  std::vector<AddedToken> tokens_;
};

}  // namespace demask
