#include "text/added_tokens.h"

#include <algorithm>

#include "core/utf8.h"
#include "text/unicode.h"

namespace demask {
namespace {

// Where the character that ends before `end` begins.
size_t character_before(std::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80) {
    --start;
  }
  return start;
}

bool is_single_word(std::string_view text, size_t start, size_t end) {
  const bool word_before = start > 0 && is_word_character(decode_utf8(text.substr(character_before(text, start))));
  const bool word_after = end < text.size() && is_word_character(decode_utf8(text.substr(end)));
  return !word_before && !word_after;
}

size_t skip_spaces_back(std::string_view text, size_t end, size_t limit) {
  while (end > limit) {
    const size_t start = character_before(text, end);
    if (!is_white_space(decode_utf8(text.substr(start)))) {
      break;
    }
    end = start;
  }
  return end;
}

size_t skip_spaces(std::string_view text, size_t start) {
  while (start < text.size() && is_white_space(decode_utf8(text.substr(start)))) {
    start += utf8_length(text.substr(start));
  }
  return start;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens) {
    if (!token.content.empty()) {
      sorted_.push_back(&token);
    }
  }
  std::stable_sort(sorted_.begin(), sorted_.end(),
                   [](const AddedToken* left, const AddedToken* right) { return left->content < right->content; });
  const auto same = [](const AddedToken* left, const AddedToken* right) { return left->content == right->content; };
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end(), same), sorted_.end());
  for (size_t i = 0; i < sorted_.size(); ++i) {
    Range& range = by_first_byte_[static_cast<unsigned char>(sorted_[i]->content.front())];
    if (range.end == 0) {
      range.begin = i;
    }
    range.end = i + 1;
  }
}

// Goes through the text byte by byte and keeps the range of tokens that begin with it.
const AddedToken* AddedTokenFinder::longest(std::string_view text) const {
  const Range& first = by_first_byte_[static_cast<unsigned char>(text.front())];
  auto begin = sorted_.begin() + static_cast<std::ptrdiff_t>(first.begin);
  auto end = sorted_.begin() + static_cast<std::ptrdiff_t>(first.end);
  const AddedToken* found = nullptr;
  for (size_t length = 1; begin != end; ++length) {
    // Tokens of exactly these bytes come first in the range.
    if ((*begin)->content.size() == length) {
      found = *begin++;
    }
    if (length == text.size()) {
      break;
    }
    const auto next = static_cast<unsigned char>(text[length]);
    const auto byte_of = [length](const AddedToken* token) {
      return static_cast<unsigned char>(token->content[length]);
    };
    begin = std::partition_point(begin, end, [&](const AddedToken* token) { return byte_of(token) < next; });
    end = std::partition_point(begin, end, [&](const AddedToken* token) { return byte_of(token) == next; });
  }
  return found;
}

std::vector<AddedTokenFinder::Part> AddedTokenFinder::split(std::string_view text, bool parse_special) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; !sorted_.empty() && at < text.size();) {
    const Range& range = by_first_byte_[static_cast<unsigned char>(text[at])];
    const AddedToken* token = range.begin == range.end ? nullptr : longest(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t start = at, end = at + token->content.size();
    at = end;
    const bool is_text =
        (token->special && !parse_special) || (token->single_word && !is_single_word(text, start, end));
    if (is_text) {
      continue;
    }
    start = std::max(start, done);
    if (token->lstrip) {
      start = skip_spaces_back(text, start, done);
    }
    if (token->rstrip) {
      end = skip_spaces(text, end);
    }
    if (start > done) {
      parts.push_back({text.substr(done, start - done)});
    }
    parts.push_back({text.substr(start, std::max(end, start) - start), token});
    done = end;
  }
  if (done < text.size()) {
    parts.push_back({text.substr(done)});
  }
  return parts;
}

}  // namespace demask
