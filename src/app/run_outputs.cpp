#include "app/run_outputs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <limits>
#include <utility>

#include "app/header_settings.h"
#include "app/run_header.h"
#include "app/tracing.h"
#include "app/work_list.h"
#include "core/json.h"
#include "core/notice.h"
#include "engine/sample_text.h"
#include "engine/scoring.h"
#include "engine/scoring_generator.h"
#include "output/line_output.h"
#include "output/score_writer.h"

namespace demask {
namespace {

constexpr int64_t every_index =
    std::numeric_limits<int64_t>::max();  // the frontier of samples in no order: all are below it

IndexRange range_of(const Work& work, const Shard& shard) {
  std::vector<std::pair<int64_t, double>> counts_and_costs;
  counts_and_costs.reserve(work.entries().size());
  for (const WorkEntry& entry : work.entries()) {
    counts_and_costs.emplace_back(entry.samples, static_cast<double>(entry.length));
  }
  const auto [first, last] = shard_range(counts_and_costs, shard);
  return {work.first() + first, last - first};
}

std::vector<std::pair<std::string, std::string>> describe_work(const Generator& generator, const PreparedPrompt& prompt,
                                                               const Work& work, ListExtent extent,
                                                               const std::string& prompts) {
  auto lines = generator.describe(prompt);
  if (extent == ListExtent::beginning) {
    lines.front().second += ", for the first prompt";
    lines.insert(lines.begin(), {"prompts", prompts + ", as they come"});
  } else if (work.is_list()) {
    lines.front().second = fmt::format("at most {} tokens", work.longest().length);
    lines.insert(lines.begin(),
                 {"prompts", fmt::format("{} of {}, {} samples", work.entries().size(), prompts, work.samples())});
  }
  return lines;
}

// More than one device is wanted where the work is more than one batch.
std::string describe_device(const Context& context, const Work& work, ListExtent extent) {
  const bool may_take_all =
      extent == ListExtent::beginning || work.samples() * work.longest().rows > most_rows(context.config);
  return fmt::format("{}, {}", may_take_all ? name_of(context.devices) : context.device.str(),
                     name_of(context.model->info().dtype));
}

RunDescription describe_run(const Engine& engine, const Work& work, ListExtent extent, const Shard& shard) {
  const Context& context = engine.context();
  const Config& config = context.config;
  RunDescription run;
  run.method = method_name(context);
  run.checkpoint = context.checkpoint;
  run.num_samples = extent == ListExtent::whole ? std::optional(work.samples()) : std::nullopt;
  run.first_sample = work.first();
  run.mask_token_id = context.shown_mask();
  run.header = {{fmt::format("demask {}", DEMASK_VERSION), ""},
                {"method", run.method},
                {"checkpoint", fmt::format("{} ({})", context.checkpoint, context.model->info().description)},
                {"vocabulary", context.vocabulary_path},
                {"device", describe_device(context, work, extent)},
                {"seed", std::to_string(config.seed)}};
  const WorkEntry& entry = work.entries().front();
  const auto first = entry.prepared ? entry.prepared : engine.generator().prepare(entry.prompt, /*quiet=*/true);
  const auto lines = describe_work(engine.generator(), *first, work, extent, list_path(config));
  run.header.insert(run.header.end(), lines.begin(), lines.end());
  if (shard.count > 1) {
    run.header.emplace_back("shard", fmt::format("{} of {}, counted from 0", shard.index, shard.count));
  }
  return run;
}

}  // namespace

RunOutputs::RunOutputs(const Engine& engine, const Work& work, ListExtent extent, const Shard& shard,
                       const std::shared_future<std::string>& checkpoint_sha256)
    : engine_(engine),
      work_(work),
      extent_(extent),
      shard_(shard),
      checkpoint_sha256_(checkpoint_sha256),
      description_(describe_run(engine, work, extent, shard)) {
  const Config& config = engine.context().config;
  remaining_.range = range_of(work, shard);
  remaining_.next = remaining_.range.first;
  std::vector<std::unique_ptr<SampleWriter>> writers = open_writers();
  if (const int64_t all = remaining_.range.count, left = remaining_.left(); config.resume && left < all) {
    notice("{} of {} samples are in '{}' already.", all - left, all, *config.output);
  }
  open_trace();
  samples_ = std::make_unique<BackgroundWriter>(std::move(writers));
}

std::vector<std::unique_ptr<SampleWriter>> RunOutputs::open_writers() {
  const Config& config = engine_.context().config;
  std::vector<std::unique_ptr<SampleWriter>> writers;
  const bool run_file = extent_ == ListExtent::whole && config.output && is_json_lines(*config.output);
  if (config.score) {
    const ScoreLines lines{description_.checkpoint, config.score_draws, config.score_tokens};
    writers.push_back(run_file ? make_score_writer(open_run_file(), *config.output, lines)
                               : make_score_writer(open_lines(), lines));
    return writers;
  }
  if (config.output == standard_output_name) {
    writers.push_back(make_json_lines_writer(open_lines(), description_));
    return writers;
  }
  writers.push_back(make_text_writer(STDOUT_FILENO, "standard output", description_));
  if (run_file) {
    writers.push_back(make_json_lines_writer(open_run_file(), description_));
  } else if (config.output && is_json_lines(*config.output)) {
    writers.push_back(make_json_lines_writer(open_lines(), description_));
  } else if (config.output) {
    writers.push_back(make_text_file_writer(*config.output, description_));
  }
  return writers;
}

// Lines that are written as they come.
std::unique_ptr<Output> RunOutputs::open_lines() {
  const std::optional<std::string>& output = engine_.context().config.output;
  return output && *output != standard_output_name ? open_growing_file(*output, dump_json(header()))
                                                   : open_line_stream();
}

// Made once for all who want it: it waits for the checkpoint's hash, which a trace alone leaves time for.
const nlohmann::ordered_json& RunOutputs::header() {
  if (!header_) {
    header_ = run_header(engine_.context(), work_, shard_, remaining_.range, checkpoint_sha256_.get());
    if (extent_ == ListExtent::beginning) {  // of the rest nothing is known
      header_->erase("samples");
      header_->erase("prompts_sha256");
    }
  }
  return *header_;
}

// A run file for the samples of the range, and what is there of them.
std::unique_ptr<RunFile> RunOutputs::open_run_file() {
  const Config& config = engine_.context().config;
  RunFileOptions options;
  options.path = *config.output;
  options.header = header();
  options.not_compared = places_in_header();
  options.range = remaining_.range;
  options.resume = config.resume;
  auto file = std::make_unique<RunFile>(options);
  remaining_.next = file->next();
  for (const auto& [index, line] : file->held()) {
    remaining_.held.insert(index);
  }
  return file;
}

void RunOutputs::open_trace() {
  const Config& config = engine_.context().config;
  if (!config.trace && !config.report) {
    return;
  }
  traced_ =
      traced_indices(config, work_, remaining_.range, [this](int64_t index) { return remaining_.is_done(index); });
  if (traced_.empty()) {
    notice("no trace is written: none of trace_samples is drawn by this process.");
    return;
  }
  traces_ = std::make_unique<TraceWriter>(TraceFiles{config.trace, config.report, config.compare});
}

void RunOutputs::take(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
  std::vector<Record> records;
  records.reserve(tasks.size());
  for (size_t k = 0; k < tasks.size(); ++k) {
    if (traces_ && samples[k].trace) {
      traces_->add({tasks[k].identity, tasks[k].prompt->given(), samples[k].self_confidence, samples[k].trace});
    }
    const Context& context = engine_.context();
    std::vector<int64_t> tokens = context.config.score ? scored_tokens(*tasks[k].prompt) : std::move(samples[k].tokens);
    std::string text = context.config.score ? context.vocabulary->decode(tokens, context.shown_mask())
                                            : sample_text(context, *tasks[k].prompt, tokens);
    records.push_back({tasks[k].identity, std::move(text), std::move(tokens), samples[k].self_confidence,
                       std::move(samples[k].score)});
  }
  const bool at_once = engine_.context().config.order == Order::done;
  samples_->write(std::move(records), at_once ? every_index : frontier);
}

// Once the samples are safe.
void RunOutputs::write_traces() {
  if (traces_ && !traces_->empty()) {
    traces_->finish(describe_trace(engine_.context(), header(), description_), *engine_.context().vocabulary);
  }
}

void RunOutputs::finish(const RunTotals& totals) {
  samples_->finish(totals);
  write_traces();
}

void RunOutputs::leave_unfinished() {
  samples_->write({}, every_index);  // those drawn before their turn need wait no more
  samples_->drain();
  write_traces();
}

}  // namespace demask
