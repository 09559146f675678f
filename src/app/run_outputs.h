// Everything that a run writes: samples as text and as JSON lines, traces, reports; and how much of it an interrupted
// run has left to do.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "app/shard.h"
#include "engine/engine.h"
#include "output/background_writer.h"
#include "output/output_file.h"
#include "output/run_file.h"
#include "output/sample_writer.h"
#include "output/trace_writer.h"

namespace demask {

// The samples of this process: a range of the run's, some of which an earlier run may have drawn.
struct Remaining {
  IndexRange range;
  int64_t next = 0;        // all of the range below it are done,
  std::set<int64_t> held;  // and these

  int64_t left() const { return range.end() - next - static_cast<int64_t>(held.size()); }
  bool is_done(int64_t index) const { return index < next || held.count(index) != 0; }
};

// How much of a run's list its work is.
enum class ListExtent {
  whole,
  beginning,  // the rest is read as it comes
};

class RunOutputs {
 public:
  // Opens every file, and on resume reads how far it goes. All arguments must outlive the outputs, except for a work
  // that is a beginning. Throws Error where a file cannot be written, or is of another run.
  RunOutputs(const Engine& engine, const Work& work, ListExtent extent, const Shard& shard,
             const std::shared_future<std::string>& checkpoint_sha256);

  const Remaining& remaining() const { return remaining_; }
  bool is_traced(int64_t index) const { return traced_.count(index) != 0; }

  // As DrawHooks::on_batch. Throws Error(failed) where an output cannot be written.
  void take(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier);

  // After the last sample of the run: whole files. Throws Error(failed) as take.
  void finish(const RunTotals& totals);

  // After the last sample of a run that was interrupted: whole lines, text files left out. Throws Error(failed).
  void leave_unfinished();

 private:
  const nlohmann::ordered_json& header();
  std::vector<std::unique_ptr<SampleWriter>> open_writers();
  std::unique_ptr<RunFile> open_run_file();
  std::unique_ptr<Output> open_lines();
  void open_trace();
  void write_traces();

  const Engine& engine_;
  const Work& work_;
  ListExtent extent_;
  const Shard& shard_;
  const std::shared_future<std::string>& checkpoint_sha256_;
  std::optional<nlohmann::ordered_json> header_;
  Remaining remaining_;
  RunDescription description_;
  std::set<int64_t> traced_;
  std::unique_ptr<TraceWriter> traces_;  // null where nothing is traced
  std::unique_ptr<BackgroundWriter> samples_;
};

}  // namespace demask
