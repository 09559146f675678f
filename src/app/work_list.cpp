#include "app/work_list.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <variant>

#include "checkpoint/input_file.h"
#include "core/error.h"

namespace demask {
namespace {

using Json = nlohmann::json;

constexpr int64_t largest_count = 1000000000;  // as of the settings of the same names
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr std::string_view blanks = " \t\r\n";

// Why a line cannot be used.
struct Refused {
  std::string reason;
};

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Refused{fmt::format(format, std::forward<Args>(args)...)};
}

// ---- text

// The length of the UTF-8 sequence at the start of `text`, or 0 where there is none (RFC 3629: no overlong forms, no
// surrogates, nothing beyond U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0U) == 0x80; };
  if (text.empty()) {
    return 0;
  }
  const unsigned char first = byte(0);
  if (first < 0x80) {
    return 1;
  }
  if (first < 0xC2 || first > 0xF4 || !continues(1)) {
    return 0;
  }
  if (first < 0xE0) {
    return 2;
  }
  const unsigned char second = byte(1);
  if (!continues(2) || (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) {
    return 0;
  }
  if (first < 0xF0) {
    return 3;
  }
  const bool in_range = (first != 0xF0 || second >= 0x90) && (first != 0xF4 || second <= 0x8F);
  return continues(3) && in_range ? 4 : 0;
}

// How many bytes come before the first that is not UTF-8; all of them where it is.
size_t valid_utf8_bytes(std::string_view text) {
  size_t valid = 0;
  while (const size_t length = utf8_length(text.substr(valid))) {
    valid += length;
  }
  return valid;
}

// At most `limit` bytes of a text that a reason repeats, in UTF-8: the JSON parser quotes half characters.
std::string shortened(std::string_view text, size_t limit) {
  constexpr std::string_view ellipsis = "...";
  std::string result;
  size_t cut = 0;  // where the last character ends after which there is room for the ellipsis
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    result += length == 0 ? "?" : text.substr(0, length);
    text.remove_prefix(std::max(length, size_t{1}));
    if (result.size() > limit) {
      return result.substr(0, cut).append(ellipsis);
    }
    if (result.size() + ellipsis.size() <= limit) {
      cut = result.size();
    }
  }
  return result;
}

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

// ---- lines

// The lines of a stream without their ends, read in pieces so that one of any length costs little memory.
class Lines {
 public:
  explicit Lines(std::istream& in) : in_(in), piece_(size_t{1} << 16, '\0') {
    read_piece();
    if (rest_.substr(0, byte_order_mark.size()) == byte_order_mark) {
      rest_.remove_prefix(byte_order_mark.size());
    }
  }

  // The first byte other than blanks, as far as is read before the first line is; empty where there is none.
  std::optional<char> first_byte() const {
    const size_t at = rest_.find_first_not_of(blanks);
    return at == std::string_view::npos ? std::nullopt : std::optional<char>(rest_[at]);
  }

  // False where there are no more. A last line needs no newline, and a last newline begins no line.
  bool next() {
    text_.clear();
    bytes_ = 0;
    if (rest_.empty() && !read_piece()) {
      return false;
    }
    ++number_;
    bool ended = false;
    char last = '\0';
    while (!ended && (!rest_.empty() || read_piece())) {
      const size_t newline = rest_.find('\n');
      ended = newline != std::string_view::npos;
      const std::string_view part = rest_.substr(0, newline);
      bytes_ += part.size();
      last = part.empty() ? last : part.back();
      text_ += part.substr(0, max_prompt_line_bytes - text_.size());
      rest_.remove_prefix(part.size() + (ended ? 1 : 0));
    }
    if (ended && last == '\r') {
      --bytes_;
      text_.resize(std::min(text_.size(), bytes_));
    }
    return true;
  }

  int64_t number() const { return number_; }
  size_t bytes() const { return bytes_; }            // of the line
  const std::string& text() const { return text_; }  // its first max_prompt_line_bytes
  bool failed() const { return in_.bad(); }

 private:
  bool read_piece() {
    in_.read(piece_.data(), static_cast<std::streamsize>(piece_.size()));
    rest_ = std::string_view(piece_).substr(0, static_cast<size_t>(in_.gcount()));
    return !rest_.empty();
  }

  std::istream& in_;
  std::string piece_;
  std::string_view rest_;  // what of the piece is not yet in a line
  std::string text_;
  size_t bytes_ = 0;
  int64_t number_ = 0;
};

// ---- JSON lines

struct Key {
  struct Id {};
  using Text = std::optional<std::string> WorkItem::*;
  struct Count {
    std::optional<int64_t> WorkItem::*member;
    int64_t low, high;
  };

  std::string_view name;
  std::variant<Id, Text, Count> kind;
};

const std::array<Key, 7>& known_keys() {
  static const std::array<Key, 7> keys = {{
      {"id", Key::Id{}},
      {"start_text", &WorkItem::start_text},
      {"infill_text", &WorkItem::infill_text},
      {"num_samples", Key::Count{&WorkItem::num_samples, 1, largest_count}},
      {"seed", Key::Count{&WorkItem::seed, 0, INT64_MAX}},
      {"max_new_tokens", Key::Count{&WorkItem::max_new_tokens, 1, largest_count}},
      {"sequence_length", Key::Count{&WorkItem::sequence_length, 1, largest_count}},
  }};
  return keys;
}

std::string allowed_values(const Key& key) {
  if (const auto* count = std::get_if<Key::Count>(&key.kind)) {
    return fmt::format("a whole number from {} to {}", count->low, count->high);
  }
  return std::holds_alternative<Key::Id>(key.kind) ? "a text in quotes or a whole number of 64 bits"
                                                   : "a text in quotes";
}

size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

[[noreturn]] void refuse_key(const std::string& name) {
  const std::string_view compared = std::string_view(name).substr(0, 100);
  std::vector<std::string_view> names;
  for (const Key& key : known_keys()) {
    names.push_back(key.name);
  }
  const auto nearest = std::min_element(names.begin(), names.end(), [compared](auto left, auto right) {
    return edit_distance(compared, left) < edit_distance(compared, right);
  });
  refuse("unknown key {}; did you mean {}? The keys are {}", shortened(Json(name).dump(), 80), *nearest,
         fmt::join(names, ", "));
}

// Takes what the parser finds as it finds it: no tree is built, so that neither speed nor depth depends on one. Every
// function throws Refused where what it is given has no place in a prompt. The names are the parser's.
class PromptReader final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { refuse_value("null"); }
  bool boolean(bool value) override { refuse_value(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return take_whole(value, std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= static_cast<number_unsigned_t>(INT64_MAX);
    return take_whole(fits ? std::optional<int64_t>(value) : std::nullopt, std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& as_written) override { refuse_value(shortened(as_written, 80)); }
  bool string(string_t& value) override {
    if (is_id()) {
      item_.id = Json(std::move(value)).dump();
    } else if (const auto* text = key_ == nullptr ? nullptr : std::get_if<Key::Text>(&key_->kind)) {
      item_.*(*text) = std::move(value);
    } else {
      refuse_value(shortened(Json(std::move(value)).dump(), 80));
    }
    return true;
  }
  bool binary(binary_t&) override { return true; }  // JSON has none

  bool start_object(size_t) override {
    if (key_ != nullptr) {
      refuse_value("{...}");
    }
    return true;
  }
  bool key(string_t& name) override {
    const auto& keys = known_keys();
    const auto* found = std::find_if(keys.begin(), keys.end(), [&](const Key& known) { return known.name == name; });
    if (found == keys.end()) {
      refuse_key(name);
    }
    const auto index = static_cast<size_t>(found - keys.begin());
    if (seen_.test(index)) {
      refuse("{} is given twice", name);
    }
    seen_.set(index);
    key_ = found;
    return true;
  }
  bool end_object() override { return true; }
  bool start_array(size_t) override { refuse_value("[...]"); }
  bool end_array() override { return true; }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string reason = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 8: ..."
    reason.erase(0, reason.find("] ") + 2);
    constexpr std::string_view always = "line 1, ";  // beside the line's number in the file it only confuses
    if (const size_t at = reason.find(always); at != std::string::npos) {
      reason.erase(at, always.size());
    }
    refuse("not valid JSON: {}", shortened(reason, 200));
  }

  // Once the line is read to its end.
  WorkItem finish() {
    if (item_.id.empty()) {
      refuse("no id: give each prompt its own, a text in quotes or a whole number");
    }
    if (item_.start_text.has_value() == item_.infill_text.has_value()) {
      refuse("{}: give one of them", item_.start_text ? "both start_text and infill_text"
                                                      : "neither start_text, which may be empty, nor infill_text");
    }
    if (item_.infill_text && item_.sequence_length) {
      refuse("both infill_text and sequence_length: leave the latter out, as the length is the template's own");
    }
    return std::move(item_);
  }

 private:
  [[noreturn]] void refuse_value(std::string_view shown) const {
    if (key_ == nullptr) {
      refuse("{} is no JSON object such as {{\"id\": 1, \"start_text\": \"To be\"}}", shown);
    }
    refuse("{} = {}: must be {}", key_->name, shown, allowed_values(*key_));
  }

  bool is_id() const { return key_ != nullptr && std::holds_alternative<Key::Id>(key_->kind); }

  // `value` is empty where it is beyond int64.
  bool take_whole(std::optional<int64_t> value, std::string as_written) {
    if (is_id()) {
      item_.id = std::move(as_written);
      return true;
    }
    const auto* count = key_ == nullptr ? nullptr : std::get_if<Key::Count>(&key_->kind);
    if (count == nullptr || !value || *value < count->low || *value > count->high) {
      refuse_value(as_written);
    }
    item_.*(count->member) = value;
    return true;
  }

  WorkItem item_;
  const Key* key_ = nullptr;  // whose value comes next; null outside the object
  std::bitset<7> seen_;
};

// ---- prompts

WorkItem read_prompt(const Lines& lines, bool is_json) {
  const std::string& text = lines.text();
  if (lines.bytes() > max_prompt_line_bytes) {
    refuse("the line has {} bytes: at most {} are allowed", lines.bytes(), max_prompt_line_bytes);
  }
  if (const size_t valid = valid_utf8_bytes(text); valid < text.size()) {
    refuse("not UTF-8 at byte {} of the line, counted from 1", valid + 1);
  }
  if (is_json) {
    PromptReader reader;
    Json::sax_parse(text, &reader);
    return reader.finish();
  }
  if (text.find('\0') != std::string::npos) {
    refuse("it has a NUL byte: is this a text file?");
  }
  WorkItem item;
  item.id = std::to_string(lines.number());
  item.start_text = text;
  return item;
}

[[noreturn]] void fail_without_prompts(const std::string& name, const std::vector<BadLine>& bad_lines) {
  if (bad_lines.empty()) {
    fail(ExitCode::bad_input, "'{}' has no prompts. Give one a line.", name);
  }
  fail(ExitCode::bad_input, "'{}' has no prompts that can be used: {} of its lines are bad, first line {}: {}.", name,
       bad_lines.size(), bad_lines.front().line, bad_lines.front().reason);
}

WorkList read_lines(Lines& lines, const std::string& name, bool is_json, bool skip_bad) {
  WorkList list;
  std::unordered_map<std::string, int64_t> line_of_id;
  while (lines.next()) {
    if (is_json && lines.bytes() <= max_prompt_line_bytes &&
        lines.text().find_first_not_of(blanks) == std::string::npos) {
      continue;
    }
    try {
      WorkItem item = read_prompt(lines, is_json);
      item.line = lines.number();
      if (is_json) {  // line numbers are no two the same
        const auto [known, is_new] = line_of_id.emplace(item.id, item.line);
        if (!is_new) {
          refuse("the id {} is line {}'s already: give each prompt its own", shortened(item.id, 80), known->second);
        }
      }
      list.items.push_back(std::move(item));
    } catch (Refused& refused) {
      if (!skip_bad) {
        fail(ExitCode::bad_input, "{}:{}: {}. Mend it, or leave such lines out with --on_error=skip.", name,
             lines.number(), refused.reason);
      }
      list.bad_lines.push_back({lines.number(), std::move(refused.reason)});
    }
  }
  if (lines.failed()) {
    fail(ExitCode::bad_input, "'{}' cannot be read beyond line {}.", name, lines.number());
  }
  if (list.items.empty()) {
    fail_without_prompts(name, list.bad_lines);
  }
  return list;
}

}  // namespace

WorkList read_work_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad) {
  Lines lines(in);
  return read_lines(lines, name, is_json, skip_bad);
}

WorkList read_work_list(const std::string& path, bool skip_bad) {
  if (path == "-") {
    Lines lines(std::cin);
    return read_lines(lines, "standard input", lines.first_byte() == '{', skip_bad);
  }
  const bool is_json = ends_with(path, ".jsonl");
  if (!is_json && !ends_with(path, ".txt")) {
    fail(ExitCode::bad_usage,
         "prompts='{}': must end in .txt (one prompt a line) or .jsonl (one JSON object a line), or be - for standard "
         "input.",
         path);
  }
  std::error_code unknown;
  if (std::filesystem::is_regular_file(path, unknown) && std::filesystem::file_size(path, unknown) == 0) {
    fail_without_prompts(path, {});
  }
  uint64_t size = 0;
  std::ifstream file = open_input_file(path, {"prompts", "Check --prompts."}, size);
  return read_work_list(file, path, is_json, skip_bad);
}

}  // namespace demask
