#include "app/tracing.h"

#include <fmt/format.h>

#include <string_view>

#include "config/command_line.h"
#include "core/error.h"
#include "model/device.h"

namespace demask {

std::set<int64_t> traced_indices(const Config& config, const Work& work, const IndexRange& range,
                                 const std::function<bool(int64_t)>& done) {
  std::set<int64_t> indices;
  if (!config.trace && !config.report) {
    return indices;
  }
  if (!config.trace_samples) {
    int64_t first = range.first;
    while (first < range.end() && done(first)) {
      ++first;
    }
    if (first < range.end()) {
      indices.insert(first);
    }
    return indices;
  }
  for (const int64_t index : *config.trace_samples) {
    if (index < work.first() || index >= work.end()) {
      fail(ExitCode::bad_usage, "trace_samples has {}, but the samples of this run are {} to {}.", index, work.first(),
           work.end() - 1);
    }
    if (index >= range.first && index < range.end() && !done(index)) {
      indices.insert(index);
    }
  }
  return indices;
}

TraceRun describe_trace(const Session& session, nlohmann::ordered_json header, const RunDescription& description) {
  const Config& config = session.config;
  // How a run is shown and stored makes no other samples.
  static const std::set<std::string_view> left_out{"batch_size", "live",    "show_progress", "use_verbose_logging",
                                                   "log_debug",  "output",  "trace",         "trace_samples",
                                                   "report",     "compare", "resume",        "shard",
                                                   "merge"};
  ParsedConfig settled{config, session.given};
  settled.config.device = session.device.is_cuda() ? "cuda" : "cpu";
  settled.config.dtype = dtype_name(session.model->info().dtype);
  TraceRun run;
  run.method = config.sampling_method;
  run.title = config.sampling_method == "standard" ? "standard sampling"
              : config.forwards
                  ? fmt::format("{}, {} forwards", config.strategy, *config.forwards)
                  : fmt::format("{}, {} iterations", config.strategy,
                                config.masking_ratios ? static_cast<int64_t>(config.masking_ratios->size())
                                                      : config.diffusion_iterations);
  run.command = to_command(settled, left_out);
  run.header = std::move(header);
  run.description = nlohmann::ordered_json::array();
  for (const auto& [label, value] : description.header) {
    if (!value.empty()) {
      run.description.push_back({label, value});
    }
  }
  run.mask_token_id = session.mask_token_id;
  return run;
}

TracedSample traced_sample(const Session& session, const Work& work, int64_t index, const PreparedPrompt& prompt,
                           const Sample& sample) {
  const WorkEntry& entry = work.entry_of(index);
  TracedSample traced;
  traced.index = index;
  traced.number = index - entry.first;
  traced.prompt_id = entry.item.id;
  traced.seed = static_cast<uint64_t>(entry.item.seed.value_or(session.config.seed));
  traced.given = prompt.given();
  traced.self_confidence = sample.self_confidence;
  traced.steps = sample.trace;
  return traced;
}

}  // namespace demask
