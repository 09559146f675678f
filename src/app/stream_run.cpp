#include "app/stream_run.h"

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "app/ending.h"
#include "app/interrupt.h"
#include "app/observers.h"
#include "app/run_outputs.h"
#include "core/error.h"
#include "core/notice.h"
#include "engine/batching.h"
#include "engine/collapse_watch.h"

namespace demask {
namespace {

PromptStreamOptions stream_options(const Config& config) {
  PromptStreamOptions options;
  options.what = config.score ? ListOf::texts : ListOf::prompts;
  options.skip_bad = config.on_error == OnError::skip;
  options.batch_wait = std::chrono::milliseconds(config.batch_wait_ms);
  options.stop_descriptor = stop_descriptor();
  return options;
}

class StreamRun {
 public:
  StreamRun(const Engine& engine, OpenList list, const std::shared_future<std::string>& checkpoint_sha256)
      : engine_(engine),
        checkpoint_sha256_(checkpoint_sha256),
        list_name_(list.name),
        observers_(engine, std::nullopt),
        collapse_watch_(engine.context()),
        stream_(std::move(list), stream_options(engine.context().config), [&engine](Prompt prompt) {
          return prepare_entry(engine.context(), engine.generator(), std::move(prompt));
        }) {
    hooks_.observer = observers_.pointer();
    hooks_.stops = [] { return stop_signal() != 0; };
    hooks_.on_batch = [this](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
      take(tasks, std::move(samples), frontier);
    };
  }

  void draw_all() {
    try {
      while (draw_piece()) {
      }
    } catch (const Error&) {
      name_unanswered();
      throw;
    }
    observers_.close();
  }

  void finish() {
    const StreamEnd end = stream_.end();
    if (const std::optional<std::string> collapse = collapse_watch_.notice()) {
      notice("{}", *collapse);
    }
    if (stop_signal() != 0) {
      if (outputs_) {
        outputs_->leave_unfinished();
      }
      unanswered_.append(end.waiting);
      end_interrupted(list_name_, totals_.samples, unanswered_);
    }
    if (outputs_) {
      outputs_->finish(
          {totals_.elapsed_s, totals_.samples, totals_.tokens, engine_.forwards(), engine_.computed_share()});
    }
    if (end.error) {
      throw Error(*end.error);
    }
    if (end.bad_lines > 0) {
      fail(ExitCode::failed, "{} lines of {} were left out, as was said of each.", end.bad_lines, list_name_);
    }
  }

 private:
  // What waits. False where nothing comes any more, or the run is to stop.
  bool draw_piece() {
    const int64_t full_batch = room_.rows > 0 ? room_.rows : most_rows(engine_.context().config);
    std::vector<WorkEntry> entries = stream_.next(full_batch);
    if (entries.empty()) {
      return false;
    }
    work_.emplace(engine_.context(), std::move(entries));
    left_.clear();
    for (const WorkEntry& entry : work_->entries()) {
      left_.push_back(entry.samples);
    }
    if (!outputs_) {
      outputs_.emplace(engine_, *work_, ListExtent::beginning, whole_, checkpoint_sha256_);
    }
    const DrawTotals drawn = engine_.draw_piece(*work_, room_, hooks_);
    totals_.elapsed_s += drawn.elapsed_s;
    totals_.samples += drawn.samples;
    totals_.tokens += drawn.tokens;
    if (drawn.gave_up) {
      notice("the batch in flight would have taken longer and was given up.");
    }
    add_undrawn(unanswered_);
    return drawn.samples == work_->samples();
  }

  void take(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
    for (size_t k = 0; k < tasks.size(); ++k) {
      collapse_watch_.look_at(*tasks[k].prompt, samples[k].tokens);
      const WorkEntry& entry = work_->entry_of(tasks[k].identity.index);
      --left_[static_cast<size_t>(&entry - work_->entries().data())];
    }
    outputs_->take(tasks, std::move(samples), frontier);
  }

  // The lines of the piece that still have samples to be drawn.
  void add_undrawn(LineRanges& lines) const {
    for (size_t k = 0; k < left_.size(); ++k) {
      if (left_[k] > 0) {
        lines.add(work_->entries()[k].prompt.line);
      }
    }
  }

  // Before an error ends the run.
  void name_unanswered() {
    LineRanges lines;
    add_undrawn(lines);
    lines.append(stream_.end().waiting);
    if (!lines.empty()) {
      notice("{}", unanswered_in_words(list_name_, lines));
    }
  }

  const Engine& engine_;
  const std::shared_future<std::string>& checkpoint_sha256_;
  const Shard whole_;
  std::string list_name_;
  Observers observers_;
  CollapseWatch collapse_watch_;
  DrawHooks hooks_;
  BatchRoom room_;
  DrawTotals totals_;
  std::optional<Work> work_;   // what is being drawn
  std::vector<int64_t> left_;  // samples of each of its lines that are not drawn
  LineRanges unanswered_;
  std::optional<RunOutputs> outputs_;  // from the first line on
  PromptStream stream_;                // last, so that it ends first
};

}  // namespace

void check_needs_no_whole_list(const Config& config, const std::string& list_name) {
  const auto refuse = [&list_name](bool given, const char* key) {
    if (given) {
      fail(ExitCode::bad_usage,
           "{} needs the whole list, and '{}' is read as it comes: put the list into a file, or leave {} out.", key,
           list_name, key);
    }
  };
  refuse(config.shard.has_value(), "shard");
  refuse(config.resume, "resume");
  refuse(config.trace.has_value(), "trace");
  refuse(config.report.has_value(), "report");
}

void draw_as_it_comes(const Engine& engine, OpenList list, const std::shared_future<std::string>& checkpoint_sha256) {
  let_batches_finish();  // from here on lines are read, which are to be answered
  StreamRun run(engine, std::move(list), checkpoint_sha256);
  run.draw_all();
  run.finish();
}

}  // namespace demask
