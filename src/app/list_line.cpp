#include "app/list_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "app/infill_reader.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "core/utf8.h"

namespace demask {
namespace {

constexpr std::string_view blanks = " \t\r\n";
constexpr size_t longest_shown = 80;  // bytes of a key or value that a reason repeats

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw_error(ExitCode::bad_input, fmt::format(format, std::forward<Args>(args)...));
}

struct LineKey {
  struct Id {};
  using Text = std::optional<std::string> Prompt::*;
  struct Ids {};
  struct TextOrIds {};  // what is given before a text to score
  struct Parts {};
  struct Count {
    std::optional<int64_t> Prompt::*member;
    int64_t low, high;
  };

  std::string_view name;
  std::variant<Id, Text, Ids, TextOrIds, Parts, Count> kind;
};

using Keys = std::vector<LineKey>;

const Keys& prompt_keys() {
  static const Keys keys = {
      {"id", LineKey::Id{}},
      {"start_text", &Prompt::start_text},
      {"infill_text", &Prompt::infill_text},
      {"infill", LineKey::Parts{}},
      {"tokens", LineKey::Ids{}},
      {"pattern", &Prompt::pattern},
      {"num_samples", LineKey::Count{&Prompt::num_samples, 1, largest_prompt_count}},
      {"seed", LineKey::Count{&Prompt::seed, 0, INT64_MAX}},
      {"max_new_tokens", LineKey::Count{&Prompt::max_new_tokens, 1, largest_prompt_count}},
      {"sequence_length", LineKey::Count{&Prompt::sequence_length, 1, largest_prompt_count}},
  };
  return keys;
}

const Keys& text_keys() {
  static const Keys keys = {
      {"id", LineKey::Id{}},
      {"text", &Prompt::start_text},
      {"tokens", LineKey::Ids{}},
      {"given", LineKey::TextOrIds{}},
      {"seed", LineKey::Count{&Prompt::seed, 0, INT64_MAX}},
  };
  return keys;
}

std::string allowed_values(const LineKey& key) {
  if (const auto* count = std::get_if<LineKey::Count>(&key.kind)) {
    return fmt::format("a whole number from {} to {}", count->low, count->high);
  }
  if (std::holds_alternative<LineKey::Ids>(key.kind)) {
    return fmt::format("a list of ids, whole numbers from 0 to {}", largest_prompt_count);
  }
  if (std::holds_alternative<LineKey::TextOrIds>(key.kind)) {
    return "a text in quotes or a list of ids";
  }
  if (std::holds_alternative<LineKey::Parts>(key.kind)) {
    return std::string(InfillReader::allowed);
  }
  return std::holds_alternative<LineKey::Id>(key.kind) ? "a text in quotes or a whole number of 64 bits"
                                                       : "a text in quotes";
}

[[noreturn]] void refuse_key(const std::string& name, const Keys& keys) {
  std::vector<std::string_view> names;
  for (const LineKey& key : keys) {
    names.push_back(key.name);
  }
  refuse("unknown key {}; did you mean {}? The keys are {}", printable(dump_json(name), longest_shown),
         nearest(name, names), fmt::join(names, ", "));
}

// Takes what the parser finds as it finds it: no tree is built, so that neither speed nor depth depends on one. Every
// function throws where what it is given has no place in a prompt. The names are the parser's.
class PromptReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit PromptReader(ListOf what) : texts_(what == ListOf::texts), keys_(texts_ ? text_keys() : prompt_keys()) {}

  bool null() override { refuse_value("null"); }
  bool boolean(bool value) override { refuse_value(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return take_whole(value, std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= static_cast<number_unsigned_t>(INT64_MAX);
    return take_whole(fits ? std::optional<int64_t>(value) : std::nullopt, std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& as_written) override {
    refuse_value(printable(as_written, longest_shown));
  }
  bool string(string_t& value) override {
    if (infill_ && !infill_->finished()) {
      return infill_->text(value) || refuse_part();
    }
    if (is_id()) {
      item_.id = dump_json(value);
    } else if (const auto* text = key_ == nullptr ? nullptr : std::get_if<LineKey::Text>(&key_->kind)) {
      item_.*(*text) = std::move(value);
    } else if (takes_text_or_ids() && !in_list_) {
      item_.given = std::move(value);
    } else {
      refuse_value(printable(dump_json(value), longest_shown));
    }
    return true;
  }
  bool binary(binary_t&) override { return true; }  // JSON has none

  bool start_object(size_t) override {
    if (infill_ && !infill_->finished()) {
      return infill_->start_object() || refuse_part();
    }
    if (key_ != nullptr) {
      refuse_value("{...}");
    }
    return true;
  }
  bool key(string_t& name) override {
    if (infill_ && !infill_->finished()) {
      return infill_->key(name) || refuse_part();
    }
    const auto found =
        std::find_if(keys_.begin(), keys_.end(), [&](const LineKey& known) { return known.name == name; });
    if (found == keys_.end()) {
      refuse_key(name, keys_);
    }
    const auto index = static_cast<size_t>(found - keys_.begin());
    if (seen_[index]) {
      refuse("{} is given twice", name);
    }
    seen_[index] = true;
    key_ = &*found;
    return true;
  }
  bool end_object() override { return !infill_ || infill_->finished() || infill_->end_object() || refuse_part(); }
  bool start_array(size_t) override {
    if (key_ != nullptr && std::holds_alternative<LineKey::Parts>(key_->kind)) {
      if (!infill_) {
        infill_.emplace();
      }
      return infill_->start_array() || refuse_part();
    }
    if (!takes_ids() || in_list_) {
      refuse_value("[...]");
    }
    in_list_ = true;
    ids_ = takes_text_or_ids() ? &item_.given_tokens : &item_.tokens;
    ids_->emplace();
    return true;
  }
  bool end_array() override {
    if (infill_ && !infill_->finished()) {
      return infill_->end_array() || refuse_part();
    }
    in_list_ = false;
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string reason(json_error_reason(error.what()));  // "parse error at line 1, column 8: ..."
    constexpr std::string_view always = "line 1, ";       // beside the line's number in the file it only confuses
    if (const size_t at = reason.find(always); at != std::string::npos) {
      reason.erase(at, always.size());
    }
    refuse("not valid JSON: {}", printable(reason, 200));
  }

  // Once the line is read to its end.
  Prompt finish() {
    if (texts_) {
      check_text_given_once();
      return std::move(item_);
    }
    if (item_.id.empty()) {
      refuse("no id: give each prompt its own, a text in quotes or a whole number");
    }
    if (infill_) {
      item_.infill = infill_->parts();
    }
    check_given_once();
    if ((item_.infill_text || item_.infill) && item_.sequence_length) {
      refuse("both {} and sequence_length: leave the latter out, as the length is the template's own",
             item_.infill ? "infill" : "infill_text");
    }
    return std::move(item_);
  }

 private:
  [[noreturn]] bool refuse_part() const {
    refuse("{}[{}]: must be {}", key_->name, infill_->place(), InfillReader::allowed);
  }

  [[noreturn]] void refuse_value(std::string_view shown) const {
    if (infill_ && !infill_->finished()) {
      refuse_part();
    }
    if (key_ == nullptr) {
      refuse("{} is no JSON object such as {{\"id\": 1, \"{}\": \"To be\"}}", shown, texts_ ? "text" : "start_text");
    }
    if (in_list_) {
      refuse("{}[{}] = {}: must be {}", key_->name, (*ids_)->size(), shown, allowed_values(*key_));
    }
    refuse("{} = {}: must be {}", key_->name, shown, allowed_values(*key_));
  }

  void check_given_once() const {
    std::vector<std::string_view> given;
    for (const auto& [is_given, name] :
         {std::pair(item_.start_text.has_value(), "start_text"),
          std::pair(item_.infill_text.has_value(), "infill_text"), std::pair(item_.infill.has_value(), "infill"),
          std::pair(item_.tokens.has_value(), "tokens")}) {
      if (is_given) {
        given.push_back(name);
      }
    }
    if (given.empty()) {
      refuse("none of start_text, which may be empty, infill_text, infill and tokens: give one of them");
    }
    if (given.size() > 1) {
      refuse("{}: give one of them", fmt::join(given, " and "));
    }
  }

  void check_text_given_once() const {
    if (item_.start_text && item_.tokens) {
      refuse("text and tokens: give one of them");
    }
    if (!item_.start_text && !item_.tokens) {
      refuse("none of text and tokens: give one of them");
    }
  }

  bool is_id() const { return key_ != nullptr && std::holds_alternative<LineKey::Id>(key_->kind); }
  bool takes_text_or_ids() const { return key_ != nullptr && std::holds_alternative<LineKey::TextOrIds>(key_->kind); }
  bool takes_ids() const {
    return takes_text_or_ids() || (key_ != nullptr && std::holds_alternative<LineKey::Ids>(key_->kind));
  }

  // `value` is empty where it is beyond int64.
  bool take_whole(std::optional<int64_t> value, std::string as_written) {
    if (infill_ && !infill_->finished()) {
      return infill_->number(value) || refuse_part();
    }
    if (is_id()) {
      item_.id = std::move(as_written);
      return true;
    }
    if (in_list_ && value && *value >= 0 && *value <= largest_prompt_count) {
      (*ids_)->push_back(*value);
      return true;
    }
    const auto* count = key_ == nullptr ? nullptr : std::get_if<LineKey::Count>(&key_->kind);
    if (count == nullptr || !value || *value < count->low || *value > count->high) {
      refuse_value(as_written);
    }
    item_.*(count->member) = value;
    return true;
  }

  const bool texts_;
  const Keys& keys_;
  Prompt item_;
  const LineKey* key_ = nullptr;  // whose value comes next; null outside the object
  std::optional<InfillReader> infill_;
  bool in_list_ = false;  // between the brackets of a list of ids, which is this one
  std::optional<std::vector<int64_t>>* ids_ = nullptr;
  std::vector<bool> seen_ = std::vector<bool>(keys_.size());  // of the keys
};

Prompt read_prompt(const ListLine& line, ListOf what, bool is_json) {
  const std::string_view text = line.text;
  if (line.bytes > max_prompt_line_bytes) {
    refuse("the line has {} bytes: at most {} are allowed", line.bytes, max_prompt_line_bytes);
  }
  if (const size_t valid = valid_utf8_bytes(text); valid < text.size()) {
    refuse("not UTF-8 at byte {} of the line, counted from 1", valid + 1);
  }
  if (is_json) {
    PromptReader reader(what);
    nlohmann::json::sax_parse(text, &reader);
    Prompt item = reader.finish();
    item.id = item.id.empty() ? std::to_string(line.number) : std::move(item.id);
    return item;
  }
  if (text.find('\0') != std::string_view::npos) {
    refuse("it has a NUL byte: is this a text file?");
  }
  Prompt item;
  item.id = std::to_string(line.number);
  item.start_text = std::string(text);
  return item;
}

}  // namespace

std::optional<Prompt> read_list_line(const ListLine& line, ListOf what, bool is_json) {
  if (is_json && line.bytes <= max_prompt_line_bytes && line.text.find_first_not_of(blanks) == std::string_view::npos) {
    return std::nullopt;
  }
  Prompt item = read_prompt(line, what, is_json);
  item.line = line.number;
  item.num_samples = what == ListOf::texts ? 1 : item.num_samples;
  return item;
}

}  // namespace demask
