#include "config/literal.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "core/utf8.h"

namespace demask {
namespace {

constexpr int max_depth = 32;

bool is_digit(char c, int radix = 10) {
  const char lower = static_cast<char>(c | 0x20);
  const int digit = c >= '0' && c <= '9' ? c - '0' : (lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : radix);
  return digit < radix;
}

bool starts_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool continues_word(char c) {
  return starts_word(c) || is_digit(c);
}

bool is_quote(char c) {
  return c == '"' || c == '\'';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (text.size() > max_literal_bytes) {
      throw LiteralError(0, fmt::format("longer than {} bytes", max_literal_bytes));
    }
  }

  Literal whole_text() {
    skip_blanks_and_lines();
    Literal literal = value(0);
    skip_blanks_and_lines();
    if (!at_end()) {
      stop("something follows the value");
    }
    return literal;
  }

  std::vector<Assignment> assignments() {
    std::vector<Assignment> found;
    skip_layout();
    while (!at_end()) {
      found.push_back(assignment());
      skip_layout();
    }
    return found;
  }

 private:
  [[noreturn]] void stop_at(size_t offset, const std::string& reason) const { throw LiteralError(offset, reason); }
  [[noreturn]] void stop(const std::string& reason) const { stop_at(position_, reason); }

  bool at_end() const { return position_ >= text_.size(); }

  // NUL past the end, which no rule of the grammar accepts.
  char peek(size_t ahead = 0) const { return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0'; }

  bool looking_at(std::string_view expected) const { return text_.substr(position_, expected.size()) == expected; }

  void skip_any_of(std::string_view characters) {
    position_ = std::min(text_.find_first_not_of(characters, position_), text_.size());
  }
  void skip_blanks() { skip_any_of(" \t\f"); }
  void skip_blanks_and_lines() { skip_any_of(" \t\f\r\n"); }

  void skip_comment() {
    if (peek() == '#') {
      position_ = std::min(text_.find('\n', position_), text_.size());
    }
  }

  // Blanks, line ends and comments: all that may stand between two lines, or inside brackets.
  void skip_layout() {
    skip_blanks_and_lines();
    while (peek() == '#') {
      skip_comment();
      skip_blanks_and_lines();
    }
  }

  std::string word() {
    const size_t start = position_;
    while (continues_word(peek())) {
      ++position_;
    }
    return std::string(text_.substr(start, position_ - start));
  }

  Assignment assignment() {
    const size_t start = position_;
    std::string key = starts_word(peek()) ? word() : std::string();
    skip_blanks();
    if (key.empty() || peek() != '=' || peek(1) == '=') {
      stop_at(start, "expected a line of the form key = value");
    }
    ++position_;
    skip_blanks();
    Literal literal = value(0);
    skip_blanks();
    skip_comment();
    if (!at_end() && peek() != '\n') {
      stop("expected the end of the line after the value: only plain values are read, no expressions");
    }
    return {std::move(key), std::move(literal), start};
  }

  Literal value(int depth) {
    if (depth > max_depth) {
      stop("brackets are nested too deeply");
    }
    const char c = peek();
    if (c == '[') {
      return bracketed(']', depth);
    }
    if (c == '(') {
      return bracketed(')', depth);
    }
    if (at_string()) {
      return strings(depth);
    }
    if (is_digit(c) || c == '.' || c == '+' || c == '-') {
      return number();
    }
    if (starts_word(c)) {
      return constant();
    }
    stop("expected a value: None, True, False, a number, a quoted string or a list of these");
  }

  Literal constant() {
    const size_t start = position_;
    const std::string name = word();
    if (name == "None") {
      return {};
    }
    if (name == "True" || name == "true") {
      return {true};
    }
    if (name == "False" || name == "false") {
      return {false};
    }
    stop_at(start, "expected a value: None, True, False, a number, a list, or a string in quotes");
  }

  // A list, a tuple, or a value in parentheses.
  Literal bracketed(char closing, int depth) {
    const size_t opening = position_++;
    std::vector<Literal> items;
    bool ends_with_comma = true;
    skip_layout();
    while (peek() != closing) {
      if (at_end()) {
        stop_at(opening, "this bracket is never closed");
      }
      if (!ends_with_comma) {
        stop(fmt::format("expected ',' or '{}'", closing));
      }
      items.push_back(value(depth + 1));
      skip_layout();
      ends_with_comma = peek() == ',';
      position_ += ends_with_comma ? 1U : 0U;
      skip_layout();
    }
    ++position_;
    if (closing == ')' && items.size() == 1 && !ends_with_comma) {
      return std::move(items.front());
    }
    return {std::move(items)};
  }

  bool at_string() const {
    const bool prefixed = std::string_view("rRuU").find(peek()) != std::string_view::npos;
    return is_quote(peek(prefixed ? 1 : 0));
  }

  // One string, or several side by side, which Python joins. Inside brackets they may be on different lines.
  Literal strings(int depth) {
    std::string joined;
    size_t end = position_;
    while (at_string()) {
      append_string(joined);
      end = position_;
      depth > 0 ? skip_layout() : skip_blanks();
    }
    position_ = end;
    return {std::move(joined)};
  }

  void append_string(std::string& out) {
    const size_t start = position_;
    const bool raw = peek() == 'r' || peek() == 'R';
    position_ += is_quote(peek()) ? 0U : 1U;
    const bool triple = text_.substr(position_, 3) == std::string(3, peek());
    const std::string_view closing = text_.substr(position_, triple ? 3 : 1);
    position_ += closing.size();
    while (!looking_at(closing)) {
      if (at_end() || (peek() == '\n' && !triple)) {
        stop_at(start, "this string is never closed");
      }
      if (peek() == '\\' && !raw) {
        append_escape(out);
        continue;
      }
      if (peek() == '\\') {  // in a raw string it stays, and still keeps a quote from closing it
        out += text_[position_++];
      }
      if (!at_end()) {
        out += text_[position_++];
      }
    }
    position_ += closing.size();
  }

  void append_escape(std::string& out) {
    constexpr std::string_view names = "abfnrtv\\'\"";
    constexpr std::string_view meanings = "\a\b\f\n\r\t\v\\'\"";
    const size_t start = position_++;
    if (at_end()) {
      stop_at(start, "this string is never closed");
    }
    if (is_digit(peek(), 8)) {
      size_t digits = 1;
      while (digits < 3 && is_digit(peek(digits), 8)) {
        ++digits;
      }
      append_code_point(out, start, digits, 8);
      return;
    }
    const char name = text_[position_++];
    if (const size_t known = names.find(name); known != std::string_view::npos) {
      out += meanings[known];
    } else if (name == 'x') {
      append_code_point(out, start, 2, 16);
    } else if (name == 'u') {
      append_code_point(out, start, 4, 16);
    } else if (name == 'U') {
      append_code_point(out, start, 8, 16);
    } else if (name == 'N') {
      stop_at(start, "\\N{...} is not read; write \\uXXXX");
    } else if (name != '\n') {  // an escaped line end vanishes; what is no escape stays as it is
      out += '\\';
      out += name;
    }
  }

  // The character whose number the next digits are, as UTF-8. `start` is where its escape began.
  void append_code_point(std::string& out, size_t start, size_t digits, int radix) {
    uint32_t code = 0;
    for (size_t i = 0; i < digits; ++i, ++position_) {
      if (!is_digit(peek(), radix)) {
        stop_at(start, fmt::format("expected {} digits after this backslash", digits));
      }
      const int digit = is_digit(peek()) ? peek() - '0' : (peek() | 0x20) - 'a' + 10;
      code = code * static_cast<uint32_t>(radix) + static_cast<uint32_t>(digit);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      stop_at(start, "this escape is no Unicode character");
    }
    out += encode_utf8(code);
  }

  Literal number() {
    const size_t start = position_;
    const std::string sign = peek() == '-' ? "-" : "";
    if (peek() == '-' || peek() == '+') {
      ++position_;
      skip_blanks();
    }
    const int radix = radix_prefix();
    std::string source = digits(radix);
    const bool starts_with_zero = radix == 10 && source.size() > 1 && source.front() == '0';
    const bool only_zeros = source.find_first_not_of('0') == std::string::npos;
    bool is_float = false;
    if (radix == 10 && peek() == '.') {
      is_float = true;
      ++position_;
      source += '.' + digits(10);
    }
    if (radix == 10 && (peek() == 'e' || peek() == 'E')) {
      is_float = true;
      source += exponent();
    }
    if (continues_word(peek()) || peek() == '.') {
      stop_at(start, "this is no number");
    }
    if (is_float) {
      return {convert<double>(sign + source, start)};
    }
    if (starts_with_zero && !only_zeros) {
      stop_at(start, "a whole number does not start with 0");
    }
    return {convert<int64_t>(sign + source, start, radix)};
  }

  int radix_prefix() {
    if (peek() != '0') {
      return 10;
    }
    const char letter = static_cast<char>(peek(1) | 0x20);
    const int radix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    position_ += radix == 10 ? 0U : 2U;
    return radix;
  }

  // Digits, without the single underscores that may stand between two of them.
  std::string digits(int radix) {
    std::string found;
    while (is_digit(peek(), radix) || (peek() == '_' && !found.empty() && is_digit(peek(1), radix))) {
      if (peek() != '_') {
        found += peek();
      }
      ++position_;
    }
    return found;
  }

  std::string exponent() {
    ++position_;
    std::string source = "e";
    if (peek() == '+' || peek() == '-') {
      source += text_[position_++];
    }
    return source + digits(10);
  }

  template <typename Number, typename... Radix>
  Number convert(const std::string& source, size_t start, Radix... radix) const {
    Number result{};
    const char* end = source.data() + source.size();
    const auto [stopped, error] = std::from_chars(source.data(), end, result, radix...);
    if (error == std::errc::result_out_of_range) {
      stop_at(start, "this number is out of range");
    }
    if (error != std::errc() || stopped != end) {
      stop_at(start, "this is no number");
    }
    return result;
  }

  std::string_view text_;
  size_t position_ = 0;
};

}  // namespace

bool operator==(const Literal& left, const Literal& right) {
  return left.value == right.value;
}

std::optional<Literal> parse_literal(std::string_view text) {
  try {
    return Parser(text).whole_text();
  } catch (const LiteralError&) {
    return std::nullopt;
  }
}

std::vector<Assignment> parse_assignments(std::string_view text) {
  return Parser(text).assignments();
}

size_t line_of(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  return 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
}

}  // namespace demask
