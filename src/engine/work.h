// What a run draws: its prompts, how many samples of each, and which sample of the run each of these is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "demask/sample.h"
#include "engine/context.h"
#include "engine/generator.h"

namespace demask {

// A prompt of the run and the samples that it is to get.
struct WorkEntry {
  Prompt prompt;
  int64_t first = 0;    // index of its first sample in the run
  int64_t samples = 0;  // how many it gets
  int64_t length = 0;   // as PreparedPrompt, which is not kept
  int64_t generated = 0;
  int64_t rows = 1;
  std::shared_ptr<const PreparedPrompt> prepared = {};  // of a list that is read as it comes; of others not kept
};

// The numbers of a prompt, but for its seed, are at most this.
inline constexpr int64_t largest_prompt_count = 1000000000;

// A line of a list that was left out, and why, in UTF-8.
struct BadLine {
  int64_t line = 0;
  std::string reason;
};

// A list of prompts, and where it comes from; both in the order of the list.
struct PromptList {
  std::string name;  // for messages; empty: prompts are named by their place in the list
  std::vector<Prompt> prompts;
  std::vector<BadLine> bad_lines;
};

// Checks a prompt of a list against settings, model and vocabulary, and turns it into tokens. The index of its first
// sample stays open. May run beside Generator::draw. Throws Error.
WorkEntry prepare_entry(const Context& context, Generator& generator, Prompt prompt);

class Work {
 public:
  // The run's own prompt. Throws Error as Generator::prepare.
  Work(const Context& context, Generator& generator);
  // A list of prompts; those that do not fit vocabulary, model or settings are an Error(bad_input) that names them, or
  // with on_error='skip' left out.
  Work(const Context& context, Generator& generator, PromptList list);
  // Prompts that follow one another in a list which is read as it comes, one at least.
  Work(const Context& context, std::vector<WorkEntry> piece);

  const std::vector<WorkEntry>& entries() const { return entries_; }
  bool is_list() const { return is_list_; }
  int64_t first() const { return entries_.front().first; }
  int64_t samples() const { return samples_; }
  int64_t end() const { return first() + samples_; }
  const WorkEntry& longest() const;
  // Lines left out, in order.
  const std::vector<BadLine>& bad_lines() const { return bad_lines_; }

  const WorkEntry& entry_of(int64_t index) const;
  // The sample with this index, still without its prompt in tokens. A prompt with a seed of its own draws from that by
  // its samples' numbers, wherever it stands in the list; others draw from the run's by index.
  SampleTask task_of(int64_t index) const;

  // A SHA-256 over every prompt and what belongs to it.
  std::string digest() const;

 private:
  void add(WorkEntry entry);

  uint64_t seed_;
  bool is_list_ = false;
  std::optional<std::string> shared_pattern_;  // of the settings, for a list's prompts without one
  std::vector<std::string> shared_words_;      // of the settings, for all of a list's prompts
  std::vector<WorkEntry> entries_;
  std::vector<BadLine> bad_lines_;
  int64_t samples_ = 0;
};

}  // namespace demask
