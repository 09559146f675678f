// A regular expression from a tokenizer's file, run by PCRE2 within limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace demask {

// Part of a text, in bytes.
struct Span {
  size_t start = 0;
  size_t end = 0;
};

class TokenizerRegex {
 public:
  // Throws Error(bad_input) naming what PCRE2 or demask cannot read. `oniguruma` is in the syntax of oniguruma.h.
  static TokenizerRegex from_oniguruma(std::string_view expression);
  // Matches this text and no other.
  static TokenizerRegex literal(std::string_view text);

  const std::string& expression() const { return expression_; }

 private:
  friend class Matcher;
  struct Code;
  TokenizerRegex(std::string expression, std::string_view translated, uint32_t options);

  std::string expression_;
  std::shared_ptr<const Code> code_;
};

// Searches with one pattern, and says no to one that would not end. For one thread.
class Matcher {
 public:
  explicit Matcher(const TokenizerRegex& pattern);
  Matcher(Matcher&&) noexcept;
  ~Matcher();

  // The first match that begins at `from` or later. `text` is UTF-8, and `from` the start of a character.
  // Throws Error(bad_input) where the search exceeds PCRE2's match limit, its stack, or the time that all searches of
  // this matcher may take together.
  std::optional<Span> find(std::string_view text, size_t from);

 private:
  struct State;
  std::optional<Span> match_at(std::string_view text, size_t from);
  [[noreturn]] void give_up(const std::string& why) const;

  std::unique_ptr<State> state_;
};

}  // namespace demask
