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
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <variant>

#include "app/infill_reader.h"
#include "core/error.h"
#include "core/input_file.h"
#include "core/json.h"
#include "core/text.h"
#include "core/utf8.h"
#include "kernels/threads.h"

namespace demask {
namespace {

constexpr std::string_view blanks = " \t\r\n";
constexpr size_t longest_shown = 80;  // bytes of a key or value that a reason repeats

// Why a line cannot be used.
struct Refused {
  std::string reason;
};

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Refused{fmt::format(format, std::forward<Args>(args)...)};
}

// ---- JSON lines

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

constexpr size_t key_count = 10;

const std::array<LineKey, key_count>& known_keys() {
  static const std::array<LineKey, key_count> keys = {{
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
  }};
  return keys;
}

using Keys = std::vector<LineKey>;

// What a list is of: prompts to draw samples of, or texts to score.
struct ListKind {
  std::string_view setting;  // that names the list
  std::string_view item;
  Keys keys;
  bool texts = false;
};

const ListKind& prompt_list() {
  static const ListKind kind{"prompts", "prompt", {known_keys().begin(), known_keys().end()}};
  return kind;
}

const ListKind& text_list() {
  static const Keys keys = {
      {"id", LineKey::Id{}},
      {"text", &Prompt::start_text},
      {"tokens", LineKey::Ids{}},
      {"given", LineKey::TextOrIds{}},
      {"seed", LineKey::Count{&Prompt::seed, 0, INT64_MAX}},
  };
  static const ListKind kind{"score", "text", keys, true};
  return kind;
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
// function throws Refused where what it is given has no place in a prompt. The names are the parser's.
class PromptReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit PromptReader(const ListKind& kind) : kind_(kind) {}

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
    const Keys& keys = kind_.keys;
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const LineKey& known) { return known.name == name; });
    if (found == keys.end()) {
      refuse_key(name, keys);
    }
    const auto index = static_cast<size_t>(found - keys.begin());
    if (seen_.test(index)) {
      refuse("{} is given twice", name);
    }
    seen_.set(index);
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
    if (kind_.texts) {
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
      refuse("{} is no JSON object such as {{\"id\": 1, \"{}\": \"To be\"}}", shown,
             kind_.texts ? "text" : "start_text");
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

  const ListKind& kind_;
  Prompt item_;
  const LineKey* key_ = nullptr;  // whose value comes next; null outside the object
  std::optional<InfillReader> infill_;
  bool in_list_ = false;  // between the brackets of a list of ids, which is this one
  std::optional<std::vector<int64_t>>* ids_ = nullptr;
  std::bitset<key_count> seen_;
};

// ---- prompts

const ListKind& list_of(ListOf what) {
  return what == ListOf::texts ? text_list() : prompt_list();
}

struct Line {
  explicit Line(const Lines& lines) : text(lines.text()), bytes(lines.bytes()), number(lines.number()) {}

  std::string text;
  size_t bytes;  // all of them
  int64_t number;
};

Prompt read_prompt(const Line& line, const ListKind& kind, bool is_json) {
  const std::string& text = line.text;
  if (line.bytes > max_prompt_line_bytes) {
    refuse("the line has {} bytes: at most {} are allowed", line.bytes, max_prompt_line_bytes);
  }
  if (const size_t valid = valid_utf8_bytes(text); valid < text.size()) {
    refuse("not UTF-8 at byte {} of the line, counted from 1", valid + 1);
  }
  if (is_json) {
    PromptReader reader(kind);
    nlohmann::json::sax_parse(text, &reader);
    Prompt item = reader.finish();
    item.id = item.id.empty() ? std::to_string(line.number) : std::move(item.id);
    return item;
  }
  if (text.find('\0') != std::string::npos) {
    refuse("it has a NUL byte: is this a text file?");
  }
  Prompt item;
  item.id = std::to_string(line.number);
  item.start_text = text;
  return item;
}

[[noreturn]] void fail_empty(const std::string& name, const ListKind& kind, const std::vector<BadLine>& bad_lines) {
  if (bad_lines.empty()) {
    fail(ExitCode::bad_input, "'{}' has no {}s. Give one a line.", name, kind.item);
  }
  fail(ExitCode::bad_input, "'{}' has no {}s that can be used: {} of its lines are bad, first line {}: {}.", name,
       kind.item, bad_lines.size(), bad_lines.front().line, bad_lines.front().reason);
}

// Nothing where the line is blank. Throws Refused.
std::optional<Prompt> read_item(const Line& line, const ListKind& kind, bool is_json) {
  if (is_json && line.bytes <= max_prompt_line_bytes && line.text.find_first_not_of(blanks) == std::string::npos) {
    return std::nullopt;
  }
  Prompt item = read_prompt(line, kind, is_json);
  item.line = line.number;
  item.num_samples = kind.texts ? 1 : item.num_samples;
  return item;
}

// A line, and what is read in it.
struct ReadLine {
  Line line;
  std::optional<Prompt> item = {};
  std::optional<Refused> refused = {};
};

// Lines that are read on several threads at once: so many or of so many bytes, by which threads pay and memory stays
// little.
constexpr size_t lines_at_once = 4096, bytes_at_once = size_t{1} << 24, least_bytes_for_threads = size_t{1} << 18;

// The next ones; empty where there are no more.
std::vector<ReadLine> read_some(Lines& lines, const ListKind& kind, bool is_json) {
  std::vector<ReadLine> some;
  size_t bytes = 0;
  while (some.size() < lines_at_once && bytes < bytes_at_once && lines.next()) {
    some.push_back({Line(lines)});
    bytes += some.back().line.text.size();
  }
  const auto read = [&](int64_t first, int64_t last, int64_t /*thread*/) {
    for (int64_t k = first; k < last; ++k) {
      ReadLine& one = some[static_cast<size_t>(k)];
      try {
        one.item = read_item(one.line, kind, is_json);
      } catch (Refused& refused) {
        one.refused = std::move(refused);
      }
    }
  };
  const auto count = static_cast<int64_t>(some.size());
  if (bytes < least_bytes_for_threads) {
    read(0, count, 0);
  } else {
    kernels::shared_pool().run(count, read);
  }
  return some;
}

PromptList read_lines(Lines& lines, const std::string& name, const ListKind& kind, bool is_json, bool skip_bad) {
  PromptList list;
  list.name = name;
  std::unordered_map<std::string, int64_t> line_of_id;
  const auto take = [&](ReadLine& one) {
    if (!one.refused && one.item && is_json) {  // line numbers are no two the same
      const auto [known, is_new] = line_of_id.emplace(one.item->id, one.line.number);
      if (!is_new) {
        one.refused = Refused{fmt::format("the id {} is line {}'s already: give each {} its own",
                                          printable(one.item->id, longest_shown), known->second, kind.item)};
      }
    }
    if (one.refused && !skip_bad) {
      fail(ExitCode::bad_input, "{}. Mend it, or leave such lines out with --on_error=skip.",
           bad_line_in_words(name, {one.line.number, one.refused->reason}));
    }
    if (one.refused) {
      list.bad_lines.push_back({one.line.number, std::move(one.refused->reason)});
    } else if (one.item) {
      list.prompts.push_back(std::move(*one.item));
    }
  };
  for (std::vector<ReadLine> some = read_some(lines, kind, is_json); !some.empty();
       some = read_some(lines, kind, is_json)) {
    std::for_each(some.begin(), some.end(), take);
  }
  if (lines.failed()) {
    fail(ExitCode::bad_input, "'{}' cannot be read beyond line {}.", name, lines.number());
  }
  if (list.prompts.empty()) {
    fail_empty(name, kind, list.bad_lines);
  }
  return list;
}

PromptList read_file(const std::string& path, const ListKind& kind, bool skip_bad) {
  if (path == "-") {
    Lines lines(std::cin, max_prompt_line_bytes);
    return read_lines(lines, "standard input", kind, lines.first_byte() == '{', skip_bad);
  }
  const bool is_json = ends_with(path, ".jsonl");
  if (!is_json && !ends_with(path, ".txt")) {
    fail(ExitCode::bad_usage,
         "{}='{}': must end in .txt (one {} a line) or .jsonl (one JSON object a line), or be - for standard input.",
         kind.setting, path, kind.item);
  }
  std::error_code unknown;
  if (std::filesystem::is_regular_file(path, unknown) && std::filesystem::file_size(path, unknown) == 0) {
    fail_empty(path, kind, {});
  }
  uint64_t size = 0;
  const std::string what = fmt::format("{}s", kind.item), advice = fmt::format("Check --{}.", kind.setting);
  std::ifstream file = open_input_file(path, {what.c_str(), advice.c_str()}, size);
  Lines lines(file, max_prompt_line_bytes);
  return read_lines(lines, path, kind, is_json, skip_bad);
}

}  // namespace

PromptList read_work_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad) {
  Lines lines(in, max_prompt_line_bytes);
  return read_lines(lines, name, prompt_list(), is_json, skip_bad);
}

PromptList read_work_list(const std::string& path, bool skip_bad) {
  return read_file(path, prompt_list(), skip_bad);
}

PromptList read_score_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad) {
  Lines lines(in, max_prompt_line_bytes);
  return read_lines(lines, name, text_list(), is_json, skip_bad);
}

PromptList read_score_list(const std::string& path, bool skip_bad) {
  return read_file(path, text_list(), skip_bad);
}

std::optional<Prompt> read_list_line(const Lines& line, ListOf what, bool is_json) {
  try {
    return read_item(Line(line), list_of(what), is_json);
  } catch (const Refused& refused) {
    throw_error(ExitCode::bad_input, refused.reason);
  }
}

void fail_empty_list(const std::string& name, ListOf what) {
  fail_empty(name, list_of(what), {});
}

std::string bad_line_in_words(const std::string& name, const BadLine& bad) {
  return fmt::format("{}:{}: {}", name, bad.line, bad.reason);
}

std::string list_path(const Config& config) {
  return config.score ? *config.score : config.prompts.value_or("");
}

}  // namespace demask
