#include "text/tokenizer_builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"
#include "core/utf8.h"
#include "text/byte_letters.h"
#include "text/refusal.h"
#include "text/tokenizer_names.h"

namespace demask {
namespace {

constexpr size_t max_merges = size_t{1} << 22;

}  // namespace

TokenizerBuilder::TokenizerBuilder(std::string path) : path_(std::move(path)) {}

void TokenizerBuilder::refuse(const std::string& why) const {
  refuse_vocabulary(path_, why);
}

void TokenizerBuilder::take_up(int64_t id, std::string_view bytes, bool findable) {
  if (const std::string wrong = tokenizer_.pieces.add(id, bytes, findable); !wrong.empty()) {
    refuse(wrong);
  }
}

void TokenizerBuilder::add_piece(std::string_view letters, int64_t id) {
  const std::optional<std::string> bytes = bytes_of_letters(letters);
  if (bytes) {
    take_up(id, *bytes, true);
    return;
  }
  if (!is_utf8(letters)) {
    refuse(fmt::format("the piece of id {} is not UTF-8", id));
  }
  take_up(id, letters, false);
  if (!other_texts_.emplace(letters, id).second) {
    refuse(fmt::format("the piece {} has two ids: {} and {}", quote(letters), other_texts_[std::string(letters)], id));
  }
}

void TokenizerBuilder::add_piece_bytes(std::string_view bytes, int64_t id) {
  take_up(id, bytes, true);
}

std::optional<int64_t> TokenizerBuilder::find(std::string_view letters) const {
  if (const std::optional<std::string> bytes = bytes_of_letters(letters)) {
    return tokenizer_.pieces.find(*bytes);
  }
  const auto found = other_texts_.find(std::string(letters));
  return found == other_texts_.end() ? std::nullopt : std::optional(found->second);
}

void TokenizerBuilder::add_merge(std::string_view left, std::string_view right) {
  if (merge_lengths_.size() == max_merges) {
    refuse(fmt::format("it has more than the {} merges allowed", max_merges));
  }
  merge_lengths_.emplace_back(static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size()));
  merge_letters_ += left;
  merge_letters_ += right;
}

void TokenizerBuilder::add_merge(std::string_view both) {
  const size_t blank = both.find(' ');
  if (blank == std::string_view::npos || both.find(' ', blank + 1) != std::string_view::npos) {
    refuse(fmt::format("the merge {} (number {}) is not two pieces with a blank between", quote(both),
                       merge_lengths_.size() + 1));
  }
  add_merge(both.substr(0, blank), both.substr(blank + 1));
}

void TokenizerBuilder::add_token(AddedToken token) {
  tokens_.push_back(std::move(token));
}

void TokenizerBuilder::resolve_merges() {
  tokenizer_.merges.reserve(merge_lengths_.size());
  std::string both;
  size_t at = 0;
  for (size_t i = 0; i < merge_lengths_.size(); ++i) {
    const auto [left_size, right_size] = merge_lengths_[i];
    const std::string_view left = std::string_view(merge_letters_).substr(at, left_size);
    const std::string_view right = std::string_view(merge_letters_).substr(at + left_size, right_size);
    const std::string_view merged = std::string_view(merge_letters_).substr(at, left_size + right_size);
    at += merged.size();
    const auto checked = [&](std::optional<int64_t> id, std::string_view letters) {
      if (!id) {
        refuse(fmt::format("merge {} joins {} and {}, but {} is no piece of the vocabulary", i + 1, quote(left),
                           quote(right), quote(letters)));
      }
      return *id;
    };
    const int64_t left_id = checked(find(left), left), right_id = checked(find(right), right);
    both = tokenizer_.pieces.piece(left_id);
    both += tokenizer_.pieces.piece(right_id);
    const std::optional<int64_t> usual = tokenizer_.pieces.find(both);
    tokenizer_.merges.add(left_id, right_id, static_cast<uint32_t>(i), usual ? *usual : checked(find(merged), merged));
  }
}

void TokenizerBuilder::merge_by_ids() {
  const PieceTable& pieces = tokenizer_.pieces;
  tokenizer_.merges.reserve(2 * static_cast<size_t>(pieces.size()));
  for (int64_t id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces.piece(id);
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      const std::optional<int64_t> left = pieces.find(piece.substr(0, cut));
      const std::optional<int64_t> right = left ? pieces.find(piece.substr(cut)) : std::nullopt;
      if (right) {
        tokenizer_.merges.add(*left, *right, static_cast<uint32_t>(id), id);
      }
    }
  }
}

// An added token is a piece already, with this id, or its id is free.
void TokenizerBuilder::resolve_tokens() {
  for (AddedToken& token : tokens_) {
    const std::optional<int64_t> known = find(token.content);
    if (known && *known != token.id) {
      refuse(fmt::format("the added token {} has the id {}, but the vocabulary has it as {}", quote(token.content),
                         token.id, *known));
    }
    if (!known) {
      if (!is_utf8(token.content)) {
        refuse(fmt::format("the added token of id {} is not UTF-8", token.id));
      }
      add_piece(token.content, token.id);
    }
  }
  tokenizer_.added = std::move(tokens_);
}

Tokenizer TokenizerBuilder::finish(const std::optional<std::string>& mask,
                                   const std::optional<std::string>& end_of_text) {
  resolve_merges();
  tokenizer_.merges.take_bytes(tokenizer_.pieces);
  resolve_tokens();
  if (tokenizer_.pieces.size() == 0) {
    refuse("it has no pieces");
  }
  tokenizer_.mask = mask_of(tokenizer_.added, mask);
  tokenizer_.end_of_text = end_of_text_of(tokenizer_.added, end_of_text);
  return std::move(tokenizer_);
}

}  // namespace demask
