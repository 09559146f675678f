#include "text/oniguruma.h"

#include <cctype>
#include <cstddef>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

// Unicode's White_Space, and all but it. PCRE2's own \s has U+180E besides.
constexpr std::string_view white_space =
    R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view no_space =
    R"(\x{00}-\x{08}\x{0E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{D7FF}\x{E000}-\x{10FFFF})";
// Alphabetic, which some symbols are, marks, decimal numbers and connectors.
constexpr std::string_view word_in_class =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
// Outside of classes Oniguruma takes Latin-1's superscripts and fractions for words too.
constexpr std::string_view word =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})"
    R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr std::string_view hexadecimal = "0-9A-Fa-f";

class Translation {
 public:
  explicit Translation(std::string_view expression) : expression_(expression) {}

  std::string run() {
    while (at_ < expression_.size()) {
      if (in_class_) {
        class_member();
      } else {
        item();
      }
    }
    return result_;
  }

 private:
  [[noreturn]] void refuse(const char* what) const {
    fail(ExitCode::bad_input, "the regular expression {} has {}, which demask does not read.", quote(expression_),
         what);
  }

  bool next_is(std::string_view text) const { return starts_with(expression_.substr(at_), text); }

  void copy(size_t bytes = 1) {
    result_ += expression_.substr(at_, bytes);
    at_ += bytes;
  }

  void replace(size_t bytes, std::string_view with) {
    result_ += with;
    at_ += bytes;
  }

  // Outside of classes.
  void item() {
    const char letter = expression_[at_];
    if (letter == '{' && is_interval()) {
      interval();
      return;
    }
    if (letter == '*' || letter == '+' || letter == '?') {
      copy();
      return;
    }
    if (letter == ')') {
      atom_ = groups_.empty() ? 0 : groups_.back();
      if (!groups_.empty()) {
        groups_.pop_back();
      }
      copy();
      return;
    }
    atom_ = result_.size();
    if (letter == '\\') {
      escape();
    } else if (letter == '[') {
      open_class();
    } else if (letter == '(') {
      groups_.push_back(result_.size());
      open_group();
    } else {
      copy();
    }
  }

  void open_class() {
    in_class_ = true;
    copy();
    if (at_ < expression_.size() && expression_[at_] == '^') {
      copy();
    }
    if (at_ < expression_.size() && expression_[at_] == ']') {
      replace(1, "\\]");
    }
  }

  // (?m) lets the dot match line ends, as (?s) does elsewhere.
  void open_group() {
    copy();
    if (at_ >= expression_.size() || expression_[at_] != '?') {
      return;
    }
    copy();
    while (at_ < expression_.size() &&
           (std::islower(static_cast<unsigned char>(expression_[at_])) != 0 || expression_[at_] == '-')) {
      if (expression_[at_] == 'm') {
        replace(1, "s");
      } else {
        copy();
      }
    }
  }

  bool is_interval() const {
    const size_t end = expression_.find('}', at_);
    return end != std::string_view::npos && end > at_ + 1 &&
           expression_.substr(at_ + 1, end - at_ - 1).find_first_not_of("0123456789,") == std::string_view::npos;
  }

  // {n,m}+ is one or more of {n,m}, and not possessive.
  void interval() {
    copy(expression_.find('}', at_) + 1 - at_);
    if (next_is("+")) {
      result_.insert(atom_, "(?:");
      result_ += ')';
    }
  }

  void escape() {
    if (at_ + 1 >= expression_.size()) {
      copy();
      return;
    }
    const char letter = expression_[at_ + 1];
    const auto set = [&](const char* open, std::string_view members) {
      replace(2, in_class_ ? std::string(members) : open + std::string(members) + "]");
    };
    switch (letter) {
      case 's':
        return set("[", white_space);
      case 'S':
        return set("[", no_space);
      case 'w':
        return set("[", in_class_ ? word_in_class : word);
      case 'h':
        return set("[", hexadecimal);
      case 'W':
        return in_class_ ? refuse("\\W within a class") : set("[^", word);
      case 'H':
        return in_class_ ? refuse("\\H within a class") : set("[^", hexadecimal);
      case 'u':
        return hexadecimal_escape();
      case 'b':
      case 'B':
        return in_class_ ? copy(2) : boundary(letter == 'b');
      case 'C':
        return refuse("\\C");
      case 'K':
        return refuse("\\K");
      default:
        return copy(escape_end() - at_);
    }
  }

  // Where an escape ends, with what it has in braces: \p{L}, \x{e9}.
  size_t escape_end() const {
    const bool takes_braces = std::string_view("pPxogk").find(expression_[at_ + 1]) != std::string_view::npos;
    const size_t end = expression_.find('}', at_);
    return takes_braces && expression_.substr(at_ + 2, 1) == "{" && end != std::string_view::npos ? end + 1 : at_ + 2;
  }

  void boundary(bool is_there) {
    const std::string set = "[" + std::string(word) + "]";
    const std::string after = "(?<=" + set + ")", before = "(?=" + set + ")";
    const std::string not_after = "(?<!" + set + ")", not_before = "(?!" + set + ")";
    replace(2, is_there ? "(?:" + after + not_before + "|" + not_after + before + ")"
                        : "(?:" + after + before + "|" + not_after + not_before + ")");
  }

  // \u00e9
  void hexadecimal_escape() {
    const std::string_view digits = expression_.substr(at_ + 2, 4);
    if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      refuse("\\u without four hexadecimal digits");
    }
    replace(6, "\\x{" + std::string(digits) + "}");
  }

  void class_member() {
    if (next_is("&&")) {
      refuse("an intersection (&&)");
    }
    if (next_is("[:")) {
      const size_t end = expression_.find(":]", at_);
      if (end != std::string_view::npos) {
        copy(end + 2 - at_);
        return;
      }
    }
    switch (expression_[at_]) {
      case '[':
        return refuse("a class within a class");
      case '\\':
        return escape();
      case ']':
        in_class_ = false;
        return copy();
      default:
        return copy();
    }
  }

  std::string_view expression_;
  std::string result_;
  std::vector<size_t> groups_;  // where in the result each open group begins
  size_t at_ = 0;
  size_t atom_ = 0;  // where in the result what a quantifier would repeat begins
  bool in_class_ = false;
};

}  // namespace

std::string from_oniguruma(std::string_view expression) {
  return Translation(expression).run();
}

}  // namespace demask
