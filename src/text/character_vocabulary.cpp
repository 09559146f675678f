#include "text/character_vocabulary.h"

#include <algorithm>
#include <functional>
#include <unordered_set>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"

namespace demask {

CharacterVocabulary::CharacterVocabulary(std::vector<std::optional<std::string>> tokens,
                                         std::optional<int64_t> mask_token_id)
    : tokens_(std::move(tokens)), mask_token_id_(mask_token_id) {
  while (!tokens_.empty() && !tokens_.back()) {
    tokens_.pop_back();
  }
  for (size_t id = 0; id < tokens_.size(); ++id) {
    const std::optional<std::string>& text = tokens_[id];
    if (!text || text->empty()) {
      continue;
    }
    ids_.emplace(*text, static_cast<int64_t>(id));
    lengths_.push_back(text->size());
  }
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
}

bool CharacterVocabulary::has_text(int64_t id) const {
  return id >= 0 && id < size() && tokens_[static_cast<size_t>(id)].has_value();
}

Vocabulary::Encoding CharacterVocabulary::encode(std::string_view text, bool /*parse_special*/) const {
  if (!is_utf8(text)) {
    fail(ExitCode::bad_input, "the text {} is not UTF-8.", quote(text));
  }
  Encoding encoding;
  std::unordered_set<std::string_view> seen;
  while (!text.empty()) {
    const auto token = longest_token(text);
    const size_t length = token ? token->second : utf8_length(text);
    if (token) {
      encoding.ids.push_back(token->first);
    } else if (seen.insert(text.substr(0, length)).second) {
      encoding.unknown.emplace_back(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return encoding;
}

std::optional<std::pair<int64_t, size_t>> CharacterVocabulary::longest_token(std::string_view text) const {
  for (const size_t length : lengths_) {
    if (length > text.size()) {
      continue;
    }
    const auto found = ids_.find(std::string(text.substr(0, length)));
    if (found != ids_.end()) {
      return std::make_pair(found->second, length);
    }
  }
  return std::nullopt;
}

std::string_view CharacterVocabulary::piece(int64_t id) const {
  return has_text(id) ? std::string_view(*tokens_[static_cast<size_t>(id)]) : std::string_view();
}

}  // namespace demask
