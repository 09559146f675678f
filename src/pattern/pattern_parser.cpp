#include "pattern/pattern_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"

namespace demask {
namespace {

using Part = NfaBuilder::Part;
using Ranges = std::vector<PointRange>;

constexpr int64_t most_repetitions = 1000000000;  // as largest_count: what is beyond is too much for any automaton

const Ranges digits = {{'0', '9'}};
const Ranges word_characters = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Ranges spaces = {{'\t', '\r'}, {' ', ' '}};
const Ranges newline = {{'\n', '\n'}};

// What a group has been read to: nodes of the automaton in the order alternatives, sequence, atom.
struct OpenGroup {
  std::optional<Part> alternatives;  // those that have ended
  std::optional<Part> sequence;      // of the one being read, without its last atom
  std::optional<Part> atom;          // which a repetition would repeat
  size_t at = 0;                     // where its parenthesis stands
};

class Parser {
 public:
  explicit Parser(std::string_view pattern) : text_(pattern) {}

  Nfa parse() {
    if (text_.empty()) {
      fail(ExitCode::bad_usage, "pattern is empty. Give a regular expression that the whole text is to match.");
    }
    if (const size_t valid = valid_utf8_bytes(text_); valid < text_.size()) {
      fail(ExitCode::bad_usage, "pattern is not UTF-8 at byte {}, counted from 1.", valid + 1);
    }
    open_.emplace_back();
    if (text_.front() == '^') {
      ++next_;
    }
    while (next_ < text_.size()) {
      read_one();
    }
    if (open_.size() > 1) {
      refuse(open_.back().at, "'(' has no ')'", "Close it, or write \\( for the character.");
    }
    const Part whole = closed(open_.back());
    return std::move(builder_).finish(whole);
  }

 private:
  [[noreturn]] void refuse(size_t at, const std::string& what, const std::string& advice) const {
    const auto is_start = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; };
    const auto before = std::count_if(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at), is_start);
    fail(ExitCode::bad_usage, "pattern: {} at character {}. {}", what, before + 1, advice);
  }

  bool sees(std::string_view what) const { return starts_with(text_.substr(next_), what); }

  bool take(std::string_view what) {
    const bool seen = sees(what);
    next_ += seen ? what.size() : 0;
    return seen;
  }

  uint32_t take_point() {
    const uint32_t point = decode_utf8(text_.substr(next_));
    next_ += utf8_length(text_.substr(next_));
    return point;
  }

  // The automaton has the parts one after the other, so an atom is joined only when no repetition can follow it.
  void settle_atom(OpenGroup& group) {
    if (group.atom) {
      group.sequence = group.sequence ? builder_.concatenated(*group.sequence, *group.atom) : *group.atom;
      group.atom.reset();
    }
  }

  void end_alternative(OpenGroup& group) {
    settle_atom(group);
    const Part last = group.sequence ? *group.sequence : builder_.empty();
    group.alternatives = group.alternatives ? builder_.either(*group.alternatives, last) : last;
    group.sequence.reset();
  }

  Part closed(OpenGroup& group) {
    end_alternative(group);
    return *group.alternatives;
  }

  void add_atom(const Ranges& ranges) {
    settle_atom(open_.back());
    open_.back().atom = builder_.points(ranges);
    read_repetition();
  }

  void read_one() {
    const size_t at = next_;
    switch (text_[at]) {
      case '(':
        open_group();
        return;
      case ')':
        close_group();
        return;
      case '|':
        ++next_;
        end_alternative(open_.back());
        return;
      case '[':
        add_atom(read_class());
        return;
      case '.':
        ++next_;
        add_atom(complement(newline));
        return;
      case '\\':
        add_atom(normalized(read_escape()));
        return;
      case '^':
      case '$':
        if (text_[at] == '$' && at + 1 == text_.size()) {
          ++next_;
          return;
        }
        refuse(at, fmt::format("an anchor, '{}', inside", text_[at]),
               fmt::format("The whole text matches anyhow; write \\{} for the character.", text_[at]));
      case '*':
      case '+':
      case '?':
      case '{':
        refuse(at, fmt::format("'{}' has nothing to repeat", text_[at]),
               fmt::format("Write \\{} for the character.", text_[at]));
      default: {
        const uint32_t point = take_point();
        add_atom({{point, point}});
      }
    }
  }

  void open_group() {
    const size_t at = next_++;
    if (sees("?") && !take("?:")) {
      refuse(at, group_name(), "Of groups demask has ( ) and (?: ) only.");
    }
    settle_atom(open_.back());
    open_.emplace_back().at = at;
  }

  std::string group_name() const {
    const std::string_view rest = text_.substr(next_);
    if (starts_with(rest, "?=") || starts_with(rest, "?!") || starts_with(rest, "?<=") || starts_with(rest, "?<!")) {
      return fmt::format("lookaround, '({}',", rest.substr(0, rest[1] == '<' ? 3 : 2));
    }
    if (starts_with(rest, "?P") || starts_with(rest, "?<") || starts_with(rest, "?'")) {
      return "a named group or a reference to one";
    }
    return starts_with(rest, "?>")   ? "an atomic group, '(?>',"
           : starts_with(rest, "?#") ? "a comment, '(?#',"
                                     : "a group with options, '(?',";
  }

  void close_group() {
    const size_t at = next_++;
    if (open_.size() == 1) {
      refuse(at, "')' has no '('", "Open it, or write \\) for the character.");
    }
    const Part group = closed(open_.back());
    open_.pop_back();
    open_.back().atom = group;
    read_repetition();
  }

  // What follows an atom, if it is a repetition.
  void read_repetition() {
    OpenGroup& group = open_.back();
    const size_t at = next_;
    if (take("*")) {
      group.atom = builder_.repeated(*group.atom, 0, std::nullopt);
    } else if (take("+")) {
      group.atom = builder_.repeated(*group.atom, 1, std::nullopt);
    } else if (take("?")) {
      group.atom = builder_.repeated(*group.atom, 0, 1);
    } else if (take("{")) {
      read_bounds(at);
    } else {
      return;
    }
    if (sees("?") || sees("+")) {
      refuse(next_, sees("?") ? "a lazy repetition, marked by '?'," : "a possessive repetition, marked by '+',",
             "A whole text matches or it does not: leave it out, or put what is repeated into ( ).");
    }
    if (sees("*") || sees("{")) {
      refuse(next_, "a repetition of a repetition", "Put what is repeated into ( ).");
    }
  }

  void read_bounds(size_t at) {
    const std::optional<int64_t> least = read_count();
    std::optional<int64_t> most = least;
    const bool has_comma = take(",");
    if (has_comma) {
      most = read_count();
    }
    if (!least || !take("}")) {
      refuse(at, "'{' begins no repetition", "Those are {m}, {m,} and {m,n}; write \\{ for the character.");
    }
    if (most && *most < *least) {
      refuse(at, fmt::format("a repetition from {} to {}", *least, *most), "Put the smaller number first.");
    }
    OpenGroup& group = open_.back();
    group.atom = builder_.repeated(*group.atom, *least, most);
  }

  std::optional<int64_t> read_count() {
    std::optional<int64_t> count;
    for (; next_ < text_.size() && text_[next_] >= '0' && text_[next_] <= '9'; ++next_) {
      count = std::min(count.value_or(0) * 10 + (text_[next_] - '0'), most_repetitions);
    }
    return count;
  }

  // After the backslash: the code points that it and what follows stand for, one of them for a character.
  Ranges read_escape() {
    const size_t at = next_++;
    if (next_ == text_.size()) {
      refuse(at, "a '\\' with nothing after it", "Write \\\\ for the character.");
    }
    const uint32_t point = take_point();
    switch (point) {
      case 'd':
        return digits;
      case 'D':
        return complement(digits);
      case 'w':
        return word_characters;
      case 'W':
        return complement(word_characters);
      case 's':
        return spaces;
      case 'S':
        return complement(spaces);
      case 'n':
        return {{'\n', '\n'}};
      case 't':
        return {{'\t', '\t'}};
      case 'r':
        return {{'\r', '\r'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'x': {
        const uint32_t coded = read_code(at);
        return {{coded, coded}};
      }
      default:
        break;
    }
    const bool is_letter_or_digit = std::any_of(word_characters.begin(), word_characters.end(), [&](PointRange range) {
      return point != '_' && point >= range.low && point <= range.high;
    });
    if (is_letter_or_digit) {
      const bool refers = (point >= '1' && point <= '9') || point == 'k' || point == 'g';
      const bool is_anchor = std::string_view("bBAZzG").find(static_cast<char>(point)) != std::string_view::npos;
      const std::string what = refers      ? "a backreference"
                               : is_anchor ? "an anchor"
                                           : "an escape that demask does not have";
      refuse(at, fmt::format("{}, '\\{}',", what, static_cast<char>(point)),
             "The escapes are \\d \\w \\s \\D \\W \\S \\n \\t \\r \\f \\v \\xHH \\x{H...} and \\ before a mark.");
    }
    return {{point, point}};
  }

  // The code point of \xHH or \x{H...}, after the x.
  uint32_t read_code(size_t at) {
    const bool braced = take("{");
    uint32_t point = 0;
    size_t count = 0;
    for (; next_ < text_.size() && (braced || count < 2); ++next_, ++count) {
      const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(text_[next_] | 0x20));
      if (digit == std::string_view::npos || text_[next_] < '0') {
        break;
      }
      point = std::min<uint32_t>(point * 16 + static_cast<uint32_t>(digit), last_code_point + 1);
    }
    const bool is_surrogate = point >= 0xD800 && point <= 0xDFFF;
    if ((braced ? count == 0 || !take("}") : count != 2) || point > last_code_point || is_surrogate) {
      refuse(at, "'\\x' without a character's number",
             "Write \\xHH with two hexadecimal digits or \\x{H...} with a code point up to 10FFFF.");
    }
    return point;
  }

  // One character of a class, or what \d and its like stand for.
  Ranges read_member() {
    if (sees("\\")) {
      return read_escape();
    }
    if (sees("[:") || sees("[.") || sees("[=")) {
      refuse(next_, "a POSIX class, '[:',", "Write its characters as ranges, or \\[ for the character.");
    }
    const uint32_t point = take_point();
    return {{point, point}};
  }

  Ranges read_class() {
    const size_t at = next_++;
    const bool negated = take("^");
    Ranges ranges;
    while (!sees("]")) {
      const size_t member_at = next_;
      if (next_ == text_.size()) {
        refuse(at, "'[' has no ']'", "Close it, or write \\[ for the character.");
      }
      const Ranges low = read_member();
      const bool is_range = sees("-") && next_ + 1 < text_.size() && text_[next_ + 1] != ']';
      if (!is_range) {
        ranges.insert(ranges.end(), low.begin(), low.end());
        continue;
      }
      ++next_;
      const Ranges high = read_member();
      const auto is_single = [](const Ranges& one) { return one.size() == 1 && one[0].low == one[0].high; };
      if (!is_single(low) || !is_single(high)) {
        refuse(member_at, "a range that ends in a class", "Give it two characters, or write \\- for the character.");
      }
      if (high[0].low < low[0].low) {
        refuse(member_at,
               fmt::format("a range backwards, from {} to {},", quote(encode_utf8(low[0].low)),
                           quote(encode_utf8(high[0].low))),
               "Put the lower code point first.");
      }
      ranges.push_back({low[0].low, high[0].low});
    }
    ++next_;
    if (ranges.empty()) {
      refuse(at, "a class without characters", "Write \\] for a bracket in it.");
    }
    ranges = normalized(std::move(ranges));
    return negated ? complement(ranges) : ranges;
  }

  std::string_view text_;
  size_t next_ = 0;
  NfaBuilder builder_;
  std::vector<OpenGroup> open_;
};

}  // namespace

Nfa parse_pattern(std::string_view pattern) {
  return Parser(pattern).parse();
}

}  // namespace demask
