#include "app/work_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/background.h"
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

// A copy of a line, which Lines has only until the next, and what is read from it.
struct ReadLine {
  explicit ReadLine(const Lines& lines) : text(lines.text()), bytes(lines.bytes()), number(lines.number()) {}
  ListLine line() const { return {text, bytes, number}; }

  std::string text;
  size_t bytes;
  int64_t number;
  std::optional<Prompt> item = {};
  std::optional<std::string> refused = {};  // why
};

// How much of a list is read on several threads at once, by lines and by bytes: enough for threads to pay, and little
// memory. A thread more is worth starting for bytes_a_thread.
constexpr size_t lines_at_once = 4096, bytes_at_once = size_t{1} << 24, bytes_a_thread = size_t{1} << 17;
constexpr size_t most_threads = 8;

// Calls read(first, last) for parts that make up 0 .. count - 1, each on a thread of its own as far as there are any.
template <typename Read>
void in_parts(size_t count, size_t parts, const Read& read) {
  std::vector<std::future<void>> others;
  for (size_t part = 1; part < parts; ++part) {
    const size_t first = count * part / parts, last = count * (part + 1) / parts;
    others.push_back(in_background([&read, first, last] { read(first, last); }));
  }
  read(size_t{0}, count / parts);
  for (std::future<void>& other : others) {
    other.get();
  }
}

// The next ones; empty where there are no more.
std::vector<ReadLine> read_some(Lines& lines, ListOf what, bool is_json) {
  std::vector<ReadLine> some;
  size_t bytes = 0;
  while (some.size() < lines_at_once && bytes < bytes_at_once && lines.next()) {
    some.emplace_back(lines);
    bytes += some.back().text.size();
  }
  const size_t threads = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, most_threads);
  in_parts(some.size(), std::clamp<size_t>(bytes / bytes_a_thread, 1, threads), [&](size_t first, size_t last) {
    for (size_t k = first; k < last; ++k) {
      try {
        some[k].item = read_list_line(some[k].line(), what, is_json);
      } catch (const Error& refused) {
        some[k].refused = refused.what();
      }
    }
  });
  return some;
}

PromptList read_lines(Lines& lines, const std::string& name, ListOf what, bool is_json, bool skip_bad) {
  PromptList list;
  list.name = name;
  std::unordered_map<std::string, int64_t> line_of_id;
  const auto take = [&](ReadLine& one) {
    if (one.item && is_json) {  // line numbers are no two the same
      const auto [known, is_new] = line_of_id.emplace(one.item->id, one.number);
      if (!is_new) {
        one.refused = fmt::format("the id {} is line {}'s already: give each {} its own",
                                  printable(one.item->id, longest_shown_id), known->second, item_of(what));
      }
    }
    if (one.refused && !skip_bad) {
      fail(ExitCode::bad_input, "{}. Mend it, or leave such lines out with --on_error=skip.",
           bad_line_in_words(name, {one.number, *one.refused}));
    }
    if (one.refused) {
      list.bad_lines.push_back({one.number, std::move(*one.refused)});
    } else if (one.item) {
      list.prompts.push_back(std::move(*one.item));
    }
  };
  for (auto some = read_some(lines, what, is_json); !some.empty(); some = read_some(lines, what, is_json)) {
    std::for_each(some.begin(), some.end(), take);
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
