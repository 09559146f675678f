// What a run draws: its prompts, how many samples of each, and the numbers that these have in the run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/method.h"
#include "app/session.h"
#include "app/work_list.h"

namespace demask {

struct WorkEntry {
  WorkItem item;
  int64_t first = 0;    // index of its first sample in the run
  int64_t samples = 0;  // of them
  int64_t length = 0;   // as PreparedPrompt
  int64_t generated = 0;
  int64_t batch_kind = 0;
};

class Work {
 public:
  // The run's own prompt.
  Work(const Session& session, const Method& method);
  // A list of prompts; lines that do not fit vocabulary, model or settings are an Error(bad_input) that names them, or
  // with on_error='skip' left out.
  Work(const Session& session, const Method& method, WorkList list);

  const std::vector<WorkEntry>& entries() const { return entries_; }
  bool is_list() const { return is_list_; }
  int64_t first() const { return entries_.front().first; }
  int64_t samples() const { return samples_; }
  int64_t end() const { return first() + samples_; }
  // Lines left out, in order.
  const std::vector<BadLine>& bad_lines() const { return bad_lines_; }

  const WorkEntry& entry_of(int64_t index) const;
  // Whose numbers the sample with this index is drawn from. A prompt with a seed of its own counts its samples from 0,
  // wherever it stands in the list.
  Stream stream_of(int64_t index) const;

  // A SHA-256 over every prompt and what belongs to it.
  std::string digest() const;

 private:
  void add(const Session& session, const Method& method, WorkItem item);

  uint64_t seed_;
  bool is_list_ = false;
  std::vector<WorkEntry> entries_;
  std::vector<BadLine> bad_lines_;
  int64_t samples_ = 0;
};

}  // namespace demask
