#include "engine/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/sha256.h"
#include "engine/prompt_tokens.h"
#include "pattern/word_list.h"

namespace demask {
namespace {

std::string place_of(const PromptList& list, const Prompt& prompt, size_t position) {
  return list.name.empty() ? fmt::format("prompt {}, counted from 0", position)
                           : fmt::format("{}:{}", list.name, prompt.line);
}

void check_range(const char* key, const std::optional<int64_t>& value, int64_t low, int64_t high) {
  if (value && (*value < low || *value > high)) {
    fail(ExitCode::bad_input, "{} = {}: must be a whole number from {} to {}.", key, *value, low, high);
  }
}

void check_keys(const Prompt& prompt, bool standard) {
  check_range("num_samples", prompt.num_samples, 1, largest_prompt_count);
  check_range("max_new_tokens", prompt.max_new_tokens, 1, largest_prompt_count);
  check_range("sequence_length", prompt.sequence_length, 1, largest_prompt_count);
  check_range("seed", prompt.seed, 0, std::numeric_limits<int64_t>::max());
  if (prompt.sequence_length && standard) {
    fail(ExitCode::bad_input, "sequence_length is for diffusion; in standard sampling give max_new_tokens.");
  }
  if (prompt.max_new_tokens && !standard) {
    fail(ExitCode::bad_input, "max_new_tokens is for standard sampling; in diffusion give sequence_length.");
  }
}

WorkEntry make_entry(const Context& context, Generator& generator, Prompt prompt) {
  WorkEntry entry;
  entry.prepared = generator.prepare(prompt, /*quiet=*/false);
  entry.samples = prompt.num_samples.value_or(context.config.num_samples);
  entry.length = entry.prepared->length;
  entry.generated = entry.prepared->generated;
  entry.rows = entry.prepared->rows;
  entry.prompt = std::move(prompt);
  return entry;
}

}  // namespace

WorkEntry prepare_entry(const Context& context, Generator& generator, Prompt prompt) {
  check_keys(prompt, context.config.sampling_method == SamplingMethod::standard);
  return make_entry(context, generator, std::move(prompt));
}

void Work::add(WorkEntry entry) {
  samples_ += entry.samples;
  entries_.push_back(std::move(entry));
}

Work::Work(const Context& context, Generator& generator) : seed_(static_cast<uint64_t>(context.config.seed)) {
  WorkEntry entry = make_entry(context, generator, own_prompt(context.config));
  entry.prepared.reset();
  entry.first = context.config.first_sample;
  add(std::move(entry));
}

Work::Work(const Context& context, std::vector<WorkEntry> piece)
    : seed_(static_cast<uint64_t>(context.config.seed)), is_list_(true), shared_pattern_(own_pattern(context.config)) {
  for (WorkEntry& entry : piece) {
    add(std::move(entry));
  }
}

Work::Work(const Context& context, Generator& generator, PromptList list)
    : seed_(static_cast<uint64_t>(context.config.seed)),
      is_list_(true),
      shared_pattern_(own_pattern(context.config)),
      shared_words_(context.config.words ? read_word_list(*context.config.words) : std::vector<std::string>{}),
      bad_lines_(std::move(list.bad_lines)) {
  const bool skips = context.config.on_error == OnError::skip;
  for (size_t position = 0; position < list.prompts.size(); ++position) {
    Prompt& prompt = list.prompts[position];
    const std::string place = place_of(list, prompt, position);
    const int64_t line = prompt.line;
    try {
      WorkEntry entry = prepare_entry(context, generator, std::move(prompt));
      entry.prepared.reset();
      entry.first = entries_.empty() ? context.config.first_sample : end();
      add(std::move(entry));
    } catch (const Error& error) {
      if (!skips) {
        fail(ExitCode::bad_input, "{}: {}{}", place, error.what(),
             list.name.empty() ? "" : " Or leave such lines out with --on_error=skip.");
      }
      bad_lines_.push_back({line, error.what()});
    }
  }
  std::sort(bad_lines_.begin(), bad_lines_.end(),
            [](const BadLine& left, const BadLine& right) { return left.line < right.line; });
  if (entries_.empty()) {
    fail(ExitCode::bad_input, "{} has no prompt that could be used{}", list.name.empty() ? "the list" : list.name,
         bad_lines_.empty() ? "." : fmt::format("; line {}: {}", bad_lines_.front().line, bad_lines_.front().reason));
  }
}

const WorkEntry& Work::longest() const {
  return *std::max_element(entries_.begin(), entries_.end(),
                           [](const WorkEntry& left, const WorkEntry& right) { return left.length < right.length; });
}

const WorkEntry& Work::entry_of(int64_t index) const {
  const auto after = std::upper_bound(entries_.begin(), entries_.end(), index,
                                      [](int64_t value, const WorkEntry& entry) { return value < entry.first; });
  return *(after - 1);
}

SampleTask Work::task_of(int64_t index) const {
  const WorkEntry& entry = entry_of(index);
  const std::optional<int64_t>& own_seed = entry.prompt.seed;
  SampleTask task;
  task.identity.index = index;
  task.identity.number = index - entry.first;
  task.identity.prompt_id = entry.prompt.id;
  task.identity.seed = own_seed ? static_cast<uint64_t>(*own_seed) : seed_;
  task.stream = {task.identity.seed, own_seed ? task.identity.number : index};
  return task;
}

namespace {

// A JSON object on a line, written as its values come: most of a large list are ids, and a tree of them takes ten times
// as long.
class ObjectLine {
 public:
  void add(const char* key, const nlohmann::ordered_json& value) {
    begin(key);
    text_ += dump_json(value);
  }
  void add(const char* key, const std::vector<int64_t>& ids) {
    begin(key);
    char before = '[';
    for (const int64_t id : ids) {
      const fmt::format_int digits(id);
      text_.push_back(std::exchange(before, ','));
      text_.append(digits.data(), digits.size());
    }
    text_ += ids.empty() ? "[]" : "]";
  }
  std::string ended() { return std::move(text_) + "}\n"; }

 private:
  void begin(const char* key) {
    text_ += text_.empty() ? "{" : ",";
    text_ += dump_json(std::string(key)) + ":";
  }

  std::string text_;
};

}  // namespace

std::string Work::digest() const {
  Sha256 hash;
  for (const WorkEntry& entry : entries_) {
    const Prompt& prompt = entry.prompt;
    ObjectLine line;
    const auto add_given = [&line](const char* key, const auto& value) {
      if (value) {
        line.add(key, *value);
      }
    };
    line.add("id", prompt.id);
    add_given("start_text", prompt.start_text);
    add_given("infill_text", prompt.infill_text);
    if (prompt.infill) {
      auto parts = nlohmann::ordered_json::array();
      for (const InfillPart& part : *prompt.infill) {
        parts.push_back({part.text, part.least, part.most});
      }
      line.add("infill", parts);
    }
    add_given("tokens", prompt.tokens);
    add_given("given", prompt.given);
    add_given("given_tokens", prompt.given_tokens);
    add_given("pattern", prompt.pattern);
    line.add("num_samples", entry.samples);
    line.add("length", entry.length);
    line.add("generated", entry.generated);
    line.add("seed", prompt.seed ? nlohmann::ordered_json(*prompt.seed) : nlohmann::ordered_json());
    hash.update(line.ended());
  }
  if (shared_pattern_) {
    hash.update(*shared_pattern_);
  }
  for (const std::string& word : shared_words_) {
    hash.update(word + "\n");
  }
  return hash.hex();
}

}  // namespace demask
