#include "app/work_list.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/input_file.h"
#include "core/text.h"

namespace demask {
namespace {

constexpr size_t longest_shown_id = 80;  // bytes

const char* item_of(ListOf what) {
  return what == ListOf::texts ? "text" : "prompt";
}

[[noreturn]] void fail_empty(const std::string& name, ListOf what, const std::vector<BadLine>& bad_lines) {
  if (bad_lines.empty()) {
    fail(ExitCode::bad_input, "'{}' has no {}s. Give one a line.", name, item_of(what));
  }
  fail(ExitCode::bad_input, "'{}' has no {}s that can be used: {} of its lines are bad, first line {}: {}.", name,
       item_of(what), bad_lines.size(), bad_lines.front().line, bad_lines.front().reason);
}

PromptList read_lines(Lines& lines, const std::string& name, ListOf what, bool is_json, bool skip_bad) {
  PromptList list;
  list.name = name;
  std::unordered_map<std::string, int64_t> line_of_id;
  while (lines.next()) {
    try {
      std::optional<Prompt> read = read_list_line(lines, what, is_json);
      if (!read) {
        continue;
      }
      Prompt& item = *read;
      if (is_json) {  // line numbers are no two the same
        const auto [known, is_new] = line_of_id.emplace(item.id, item.line);
        if (!is_new) {
          fail(ExitCode::bad_input, "the id {} is line {}'s already: give each {} its own",
               printable(item.id, longest_shown_id), known->second, item_of(what));
        }
      }
      list.prompts.push_back(std::move(item));
    } catch (const Error& refused) {
      if (!skip_bad) {
        fail(ExitCode::bad_input, "{}. Mend it, or leave such lines out with --on_error=skip.",
             bad_line_in_words(name, {lines.number(), refused.what()}));
      }
      list.bad_lines.push_back({lines.number(), refused.what()});
    }
  }
  if (lines.failed()) {
    fail(ExitCode::bad_input, "'{}' cannot be read beyond line {}.", name, lines.number());
  }
  if (list.prompts.empty()) {
    fail_empty(name, what, list.bad_lines);
  }
  return list;
}

PromptList read_file(const std::string& path, ListOf what, bool skip_bad) {
  if (path == "-") {
    Lines lines(std::cin, max_prompt_line_bytes);
    return read_lines(lines, "standard input", what, lines.first_byte() == '{', skip_bad);
  }
  const char* setting = what == ListOf::texts ? "score" : "prompts";
  const bool is_json = ends_with(path, ".jsonl");
  if (!is_json && !ends_with(path, ".txt")) {
    fail(ExitCode::bad_usage,
         "{}='{}': must end in .txt (one {} a line) or .jsonl (one JSON object a line), or be - for standard input.",
         setting, path, item_of(what));
  }
  std::error_code unknown;
  if (std::filesystem::is_regular_file(path, unknown) && std::filesystem::file_size(path, unknown) == 0) {
    fail_empty(path, what, {});
  }
  uint64_t size = 0;
  const std::string items = fmt::format("{}s", item_of(what)), advice = fmt::format("Check --{}.", setting);
  std::ifstream file = open_input_file(path, {items.c_str(), advice.c_str()}, size);
  Lines lines(file, max_prompt_line_bytes);
  return read_lines(lines, path, what, is_json, skip_bad);
}

}  // namespace

PromptList read_work_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad) {
  Lines lines(in, max_prompt_line_bytes);
  return read_lines(lines, name, ListOf::prompts, is_json, skip_bad);
}

PromptList read_work_list(const std::string& path, bool skip_bad) {
  return read_file(path, ListOf::prompts, skip_bad);
}

PromptList read_score_list(std::istream& in, const std::string& name, bool is_json, bool skip_bad) {
  Lines lines(in, max_prompt_line_bytes);
  return read_lines(lines, name, ListOf::texts, is_json, skip_bad);
}

PromptList read_score_list(const std::string& path, bool skip_bad) {
  return read_file(path, ListOf::texts, skip_bad);
}

void fail_empty_list(const std::string& name, ListOf what) {
  fail_empty(name, what, {});
}

std::string bad_line_in_words(const std::string& name, const BadLine& bad) {
  return fmt::format("{}:{}: {}", name, bad.line, bad.reason);
}

std::string list_path(const Config& config) {
  return config.score ? *config.score : config.prompts.value_or("");
}

}  // namespace demask
