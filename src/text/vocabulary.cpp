#include "text/vocabulary.h"

#include <fmt/format.h>

#include <utility>

#include "core/text.h"
#include "core/utf8.h"

namespace demask {

std::string_view Vocabulary::token(int64_t id, std::optional<int64_t> mask_id) const {
  if (mask_id == id) {
    return "[MASK]";
  }
  return has_text(id) ? piece(id) : "[UNK]";
}

std::string Vocabulary::decode(const std::vector<int64_t>& ids, std::optional<int64_t> mask_id) const {
  std::string text;
  for (const int64_t id : ids) {
    text += token(id, mask_id);
  }
  return repair_utf8(std::move(text));
}

std::string Vocabulary::bytes(const std::vector<int64_t>& ids) const {
  std::string text;
  for (const int64_t id : ids) {
    text += piece(id);
  }
  return text;
}

std::optional<int64_t> likely_mask_token(const Vocabulary& vocabulary) {
  for (const std::string_view usual :
       {"[MASK]", "<mask>", "<MASK>", "[mask]", "<|mask|>", "<|mdm_mask|>", "<M>", "MASK", "\u2588", "\u25a1", "_"}) {
    for (int64_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.has_text(id) && vocabulary.token(id) == usual) {
        return id;
      }
    }
  }
  return std::nullopt;
}

std::string mask_token_advice(const Vocabulary& vocabulary) {
  if (const auto id = likely_mask_token(vocabulary)) {
    return fmt::format("The vocabulary has {} as id {}: if that is the mask, set --mask_token_id={}.",
                       quote(vocabulary.token(*id)), *id, *id);
  }
  return "If one of the vocabulary's ids is the mask, say which with --mask_token_id.";
}

}  // namespace demask
