#include "app/run.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "app/batching.h"
#include "app/interrupt.h"
#include "app/method.h"
#include "app/resolve.h"
#include "app/run_header.h"
#include "app/session.h"
#include "app/shard.h"
#include "app/tracing.h"
#include "app/work.h"
#include "app/work_list.h"
#include "config/command_line.h"
#include "core/error.h"
#include "core/sha256.h"
#include "model/device.h"
#include "output/background_writer.h"
#include "output/inspection.h"
#include "output/live_view.h"
#include "output/progress.h"
#include "output/run_file.h"
#include "output/sample_writer.h"
#include "output/trace_writer.h"

namespace demask {
namespace {

class Observers : public Observer {
 public:
  void add(std::unique_ptr<Observer> observer) { observers_.push_back(std::move(observer)); }
  Observer* pointer() { return observers_.empty() ? nullptr : this; }

  void on_batch(const std::vector<int64_t>& indices, int64_t steps, int64_t tokens) override {
    for (const auto& observer : observers_) {
      observer->on_batch(indices, steps, tokens);
    }
  }
  void on_step(const StepView& view) override {
    for (const auto& observer : observers_) {
      observer->on_step(view);
    }
  }
  bool reads_tensors() const override {
    return std::any_of(observers_.begin(), observers_.end(),
                       [](const auto& observer) { return observer->reads_tensors(); });
  }
  void on_batch_done() override {
    for (const auto& observer : observers_) {
      observer->on_batch_done();
    }
  }

  LiveView* live = nullptr;  // one of them, where there is a live view

 private:
  std::vector<std::unique_ptr<Observer>> observers_;
};

// LibTorch may start with one thread; use the cores that this process may run on, unless the user said how many.
void use_all_cores() {
  cpu_set_t cores;
  if (std::getenv("OMP_NUM_THREADS") == nullptr && sched_getaffinity(0, sizeof cores, &cores) == 0) {
    at::set_num_threads(CPU_COUNT(&cores));
  }
}

std::vector<std::pair<std::string, std::string>> describe_work(const Method& method, const Work& work,
                                                               const std::string& prompts) {
  auto lines = method.describe(*method.prepare(work.entries().front().item, /*quiet=*/true));
  if (work.is_list()) {
    const auto longest =
        std::max_element(work.entries().begin(), work.entries().end(),
                         [](const auto& left, const auto& right) { return left.length < right.length; });
    lines.front().second = fmt::format("at most {} tokens", longest->length);
    lines.insert(lines.begin(),
                 {"prompts", fmt::format("{} of {}, {} samples", work.entries().size(), prompts, work.samples())});
  }
  return lines;
}

RunDescription describe_run(const Session& session, const Method& method, const Work& work, const Shard& shard) {
  const Config& config = session.config;
  RunDescription run;
  run.method = config.sampling_method;
  run.checkpoint = session.checkpoint;
  run.num_samples = work.samples();
  run.first_sample = work.first();
  run.mask_token_id = session.mask_token_id;
  run.header = {{fmt::format("demask {}", DEMASK_VERSION), ""},
                {"method", config.sampling_method},
                {"checkpoint", fmt::format("{} ({})", session.checkpoint, session.model->info().description)},
                {"device", fmt::format("{}, {}", session.device.str(), dtype_name(session.model->info().dtype))},
                {"seed", std::to_string(config.seed)}};
  const auto lines = describe_work(method, work, config.prompts.value_or(""));
  run.header.insert(run.header.end(), lines.begin(), lines.end());
  if (shard.count > 1) {
    run.header.emplace_back("shard", fmt::format("{} of {}, counted from 0", shard.index, shard.count));
  }
  return run;
}

std::unique_ptr<LiveView> make_live_view(const Session& session, const Method& method, const Terminal& terminal) {
  LiveOptions options;
  options.diffusion = session.config.sampling_method == "diffusion";
  options.mask_token_id = session.mask_token_id;
  options.colours = choose_colours(std::getenv("NO_COLOR"), std::getenv("COLORTERM"));
  options.forwards = method.forwards;
  return std::make_unique<LiveView>(terminal, *session.vocabulary, options);
}

// What the live view is to know of a batch beforehand.
std::vector<SampleExtent> extents_of(const PlannedBatch& batch) {
  std::vector<SampleExtent> extents;
  extents.reserve(batch.size());
  for (const PlannedSample& sample : batch) {
    const PreparedPrompt& prompt = *sample.request.prompt;
    extents.push_back({sample.index, prompt.length - prompt.generated, prompt.length});
  }
  return extents;
}

std::unique_ptr<Observers> make_observers(const Session& session, const Method& method, int64_t samples) {
  const Config& config = session.config;
  auto observers = std::make_unique<Observers>();
  if (const auto terminal = config.live ? find_terminal() : std::nullopt) {
    auto live = make_live_view(session, method, *terminal);
    observers->live = live.get();
    observers->add(std::move(live));
  } else if (config.show_progress) {
    ProgressOptions options;
    // A line that redraws itself would run into the views that are printed below it.
    options.terminal = isatty(STDERR_FILENO) != 0 && !config.use_verbose_logging && !config.log_debug;
    options.diffusion = config.sampling_method == "diffusion";
    options.total_samples = samples;
    observers->add(std::make_unique<Progress>(stderr, options));
  }
  if (config.use_verbose_logging || config.log_debug) {
    InspectionOptions options;
    options.verbose = config.use_verbose_logging;
    options.debug = config.log_debug;
    options.mask_token_id = session.mask_token_id;
    observers->add(std::make_unique<Inspection>(stderr, *session.vocabulary, options));
  }
  return observers;
}

// Where a run stands between its shard, what an interrupted run left of it, and what it is to do.
struct Assignment {
  IndexRange range;
  int64_t next = 0;        // all of the range below it are done,
  std::set<int64_t> held;  // and these

  int64_t left() const { return range.end() - next - static_cast<int64_t>(held.size()); }
};

IndexRange range_of(const Work& work, const Shard& shard) {
  std::vector<std::pair<int64_t, double>> counts_and_costs;
  counts_and_costs.reserve(work.entries().size());
  for (const WorkEntry& entry : work.entries()) {
    counts_and_costs.emplace_back(entry.samples, static_cast<double>(entry.length));
  }
  const auto [first, last] = shard_range(counts_and_costs, shard);
  return {work.first() + first, last - first};
}

std::vector<Record> to_records(const Session& session, const Work& work, const PlannedBatch& batch,
                               std::vector<Sample> samples) {
  std::vector<Record> records;
  records.reserve(batch.size());
  for (size_t k = 0; k < batch.size(); ++k) {
    const WorkEntry& entry = work.entry_of(batch[k].index);
    Record record;
    record.index = batch[k].index;
    record.number = batch[k].index - entry.first;
    record.prompt_id = entry.item.id;
    record.seed = static_cast<uint64_t>(entry.item.seed.value_or(session.config.seed));
    record.tokens = std::move(samples[k].tokens);
    record.self_confidence = samples[k].self_confidence;
    records.push_back(std::move(record));
  }
  return records;
}

// A run file for the samples of the range, and what is there of them.
std::unique_ptr<RunFile> open_run_file(const Config& config, const nlohmann::ordered_json& header,
                                       Assignment& assignment) {
  RunFileOptions options;
  options.path = *config.output;
  options.header = header;
  options.not_compared = places_in_header();
  options.range = assignment.range;
  options.resume = config.resume;
  auto file = std::make_unique<RunFile>(options);
  assignment.next = file->next();
  for (const auto& [index, line] : file->held()) {
    assignment.held.insert(index);
  }
  return file;
}

[[noreturn]] void end_interrupted(const Config& config, int64_t drawn, int64_t asked) {
  const bool terminated = stop_signal() == SIGTERM;
  const bool resumable = config.output && is_json_lines(*config.output);
  fail(terminated ? ExitCode::terminated : ExitCode::interrupted, "interrupted after {} of {} samples.{}", drawn, asked,
       drawn == asked ? ""
       : resumable
           ? fmt::format(" They are in '{}'; the same command with --resume=True goes on from there.", *config.output)
           : " An --output that ends in .jsonl could be gone on with.");
}

// Lines of the list that were left out: the run has done what it could.
void report_bad_lines(const Work& work, const std::string& name) {
  if (work.bad_lines().empty()) {
    return;
  }
  constexpr size_t most_named = 20;
  std::string message = fmt::format("{} lines of {} were left out:", work.bad_lines().size(), name);
  for (size_t i = 0; i < work.bad_lines().size() && i < most_named; ++i) {
    message += fmt::format("\n  {}:{}: {}", name, work.bad_lines()[i].line, work.bad_lines()[i].reason);
  }
  if (work.bad_lines().size() > most_named) {
    message += fmt::format("\n  and {} more", work.bad_lines().size() - most_named);
  }
  throw Error(ExitCode::failed, message);
}

// Null where nothing is traced.
std::unique_ptr<TraceWriter> make_trace_writer(const Config& config, const std::set<int64_t>& traced) {
  if (!config.trace && !config.report) {
    return nullptr;
  }
  if (traced.empty()) {
    notice("no trace is written: none of trace_samples is drawn by this process.");
    return nullptr;
  }
  return std::make_unique<TraceWriter>(TraceFiles{config.trace, config.report, config.compare});
}

void sample_and_write(const Session& session, const Method& method, const Work& work, const Shard& shard,
                      const std::shared_future<std::string>& checkpoint_sha256) {
  const Config& config = session.config;
  Assignment assignment;
  assignment.range = range_of(work, shard);
  assignment.next = assignment.range.first;
  const RunDescription description = describe_run(session, method, work, shard);
  // Once for all who want it; it waits for the checkpoint's hash, which a trace alone leaves time for.
  auto header = [&, made = std::optional<nlohmann::ordered_json>()]() mutable -> const nlohmann::ordered_json& {
    if (!made) {
      made = run_header(session, work, shard, assignment.range, checkpoint_sha256.get());
    }
    return *made;
  };
  std::vector<std::unique_ptr<SampleWriter>> writers;
  writers.push_back(make_text_writer(STDOUT_FILENO, "standard output", description, *session.vocabulary));
  if (config.output && is_json_lines(*config.output)) {
    writers.push_back(
        make_json_lines_writer(open_run_file(config, header(), assignment), description, *session.vocabulary));
  } else if (config.output) {
    writers.push_back(make_text_file_writer(*config.output, description, *session.vocabulary));
  }
  const int64_t left = assignment.left();
  if (config.resume && left < assignment.range.count) {
    notice(fmt::format("{} of {} samples are in '{}' already.", assignment.range.count - left, assignment.range.count,
                       *config.output));
  }
  const auto is_done = [&assignment](int64_t index) {
    return index < assignment.next || assignment.held.count(index) != 0;
  };
  const std::set<int64_t> traced = traced_indices(config, work, assignment.range, is_done);
  const std::unique_ptr<TraceWriter> traces = make_trace_writer(config, traced);
  BackgroundWriter output(std::move(writers));

  const std::unique_ptr<Observers> observers = make_observers(session, method, left);
  const auto started = std::chrono::steady_clock::now();
  BatchPlanner planner(work, method, assignment.next, assignment.range.end(), is_done);
  RunTotals totals;
  const auto run_batch = [&](const PlannedBatch& batch) {
    std::vector<Request> requests;
    requests.reserve(batch.size());
    int64_t tokens = 0;
    for (const PlannedSample& sample : batch) {
      requests.push_back(sample.request);
      requests.back().traced = traced.count(sample.index) != 0;
      tokens += sample.request.prompt->generated;
    }
    if (observers->live != nullptr) {
      observers->live->expect(extents_of(batch));
    }
    std::vector<Sample> samples = method.draw(requests, observers->pointer());
    for (size_t k = 0; traces && k < batch.size(); ++k) {
      if (samples[k].trace) {
        traces->add(traced_sample(session, work, batch[k].index, *requests[k].prompt, samples[k]));
      }
    }
    output.write(to_records(session, work, batch, std::move(samples)), planner.frontier());
    totals.samples += static_cast<int64_t>(batch.size());
    totals.tokens += tokens;
  };
  if (left > 0) {
    for_each_batch(planner, choose_batch_size(session, method, work, left), session.device, run_batch,
                   [] { return stop_signal() != 0; });
  }
  totals.elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  totals.forwards = method.forwards();
  if (observers->live != nullptr) {
    observers->live->close();
  }
  // Once the samples are safe.
  const auto write_traces = [&] {
    if (traces && !traces->empty()) {
      traces->finish(describe_trace(session, header(), description), *session.vocabulary);
    }
  };
  if (totals.samples < left) {
    output.write({}, assignment.range.end());  // those drawn before their turn need wait no more
    output.drain();
    write_traces();
    end_interrupted(config, totals.samples, left);
  }
  output.finish(totals);
  write_traces();
  if (stop_signal() != 0) {
    end_interrupted(config, totals.samples, left);
  }
  report_bad_lines(work, config.prompts.value_or(""));
}

// Which part of the work this process does, and the names and the device that follow from it.
Shard settle_shard(Config& config) {
  const Shard shard = config.shard ? parse_shard(*config.shard, process_environment()) : Shard{};
  struct Written {
    const char* key;
    std::optional<std::string>& path;
    const char* example;
  };
  for (const Written& file :
       {Written{"output", config.output, "samples-{shard}.jsonl"}, Written{"trace", config.trace, "trace-{shard}.json"},
        Written{"report", config.report, "report-{shard}.html"}}) {
    if (!file.path) {
      continue;
    }
    if (shard.count > 1 && !has_shard_field(*file.path)) {
      fail(ExitCode::bad_usage, "{}='{}' would be written by all {} shards: put {{shard}} into its name, such as '{}'.",
           file.key, *file.path, shard.count, file.example);
    }
    file.path = expand_shard_name(*file.path, shard);
  }
  if (config.seed == -1 && (shard.count > 1 || config.resume)) {
    fail(ExitCode::bad_usage,
         "seed=-1 draws another seed in every {}, so that they would not belong together: give a seed.",
         config.resume ? "run" : "shard");
  }
  if (!shard.source.empty() && config.shard == "auto") {
    notice(fmt::format("shard {}/{}, by {}.", shard.index, shard.count, shard.source));
  }
  const int64_t devices = shard.local_rank ? cuda_device_count() : 0;
  if (devices > 0 && (config.device == "auto" || config.device == "cuda")) {
    // A launcher may show each process one device only, its own.
    config.device = fmt::format("cuda:{}", *shard.local_rank % devices);
    if (*shard.local_rank >= devices && devices > 1) {
      notice(fmt::format("local rank {} shares {}: there are {} devices.", *shard.local_rank, config.device, devices));
    }
  }
  return shard;
}

}  // namespace

void run(const std::vector<std::string>& arguments) {
  CommandLine command = parse_command_line(arguments);
  Config& config = command.parsed.config;
  switch (command.action) {
    case CommandLine::Action::help:
      fmt::print("{}", help_text());
      return;
    case CommandLine::Action::version:
      fmt::print("demask {} ({})\n", DEMASK_VERSION, libtorch_description());
      return;
    case CommandLine::Action::print_config:
      fmt::print("{}", print_config(config));
      return;
    case CommandLine::Action::run:
      break;
  }
  if (config.merge) {
    install_signal_handlers();
    merge_run_files(*config.merge, *config.output, places_in_header());
    return;
  }
  install_signal_handlers();
  use_all_cores();
  const Shard shard = settle_shard(config);
  std::optional<WorkList> list;
  if (config.prompts) {
    list = read_work_list(*config.prompts, config.on_error == "skip");
  }
  std::shared_future<std::string> checkpoint_sha256;
  if ((config.output && is_json_lines(*config.output)) || config.trace || config.report) {
    // While the model is loaded, which says it where the file cannot be read.
    checkpoint_sha256 = std::async(std::launch::async, sha256_of_file, checkpoint_path(config));
  }
  const Session session = open_session(command.parsed);
  const Method method = make_method(session, command.parsed);
  const Work work = list ? Work(session, method, std::move(*list)) : Work(session, method);
  sample_and_write(session, method, work, shard, checkpoint_sha256);
  end_process_if_slow_to_end(session.device);
}

}  // namespace demask
