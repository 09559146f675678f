// Collects the traced samples of a run and writes them as a trace, a report, or both.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "output/trace.h"
#include "text/vocabulary.h"

namespace demask {

class Output;

struct TraceFiles {
  std::optional<std::string> trace;   // path of the JSON
  std::optional<std::string> report;  // path of the page
  std::optional<std::string> other;   // path of a trace that the page shows beside this run's
};

class TraceWriter {
 public:
  // Opens the files at once, so that a path that cannot be written fails before sampling: Error(failed) that names it.
  // Files appear under their names complete or not at all. Throws as read_trace where `other` is not a trace.
  explicit TraceWriter(const TraceFiles& files);
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;
  ~TraceWriter();

  void add(TracedSample sample) { samples_.push_back(std::move(sample)); }
  bool empty() const { return samples_.empty(); }
  // Writes what was added, by index. Throws Error(failed) where a file cannot be written.
  void finish(const TraceRun& run, const Vocabulary& vocabulary);

 private:
  std::vector<nlohmann::ordered_json> others_;
  std::unique_ptr<Output> trace_, report_;
  std::vector<TracedSample> samples_;
};

}  // namespace demask
