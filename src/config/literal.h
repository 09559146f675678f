// Python literals (True, None, 3, 1e-3, 'text', [0.9, 0.5]) and files of `key = literal` lines, read without running
// anything. Grammar: https://docs.python.org/3/reference/lexical_analysis.html, without bytes, f-strings, \N{...},
// dicts and sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace demask {

// None, bool, int, float, str, and a list or tuple. Strings are UTF-8; floats are finite.
struct Literal {
  std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<Literal>> value;
};
bool operator==(const Literal& left, const Literal& right);

// What is read in one piece is at most this long; nesting is bounded too.
inline constexpr size_t max_literal_bytes = size_t{1} << 20;

// Where a text stopped being literals, in bytes from its start, and why.
class LiteralError : public std::runtime_error {
 public:
  LiteralError(size_t offset, const std::string& reason) : std::runtime_error(reason), offset_(offset) {}
  size_t offset() const noexcept { return offset_; }

 private:
  size_t offset_;
};

// The literal that the whole text is, blanks around it aside; empty where the text is no literal. `true` and `false`
// count.
std::optional<Literal> parse_literal(std::string_view text);

struct Assignment {
  std::string key;
  Literal value;
  size_t offset;  // of the key
};

// The `key = literal` lines of a nanoGPT config file, in order. Throws LiteralError at anything else.
std::vector<Assignment> parse_assignments(std::string_view text);

// The line, counted from 1, that the byte at `offset` is on.
size_t line_of(std::string_view text, size_t offset);

}  // namespace demask
