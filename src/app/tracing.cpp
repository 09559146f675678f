#include "app/tracing.h"

#include <fmt/format.h>

#include "config/printing.h"
#include "core/error.h"
#include "model/device.h"
#include "sampling/strategy_plan.h"

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

TraceRun describe_trace(const Context& context, nlohmann::ordered_json header, const RunDescription& description) {
  const Config& config = context.config;
  ParsedConfig settled{config, context.given};
  settled.config.device = context.device.is_cuda() ? "cuda" : "cpu";
  settled.config.dtype = value_named<Precision>(name_of(context.model->info().dtype)).value();
  TraceRun run;
  run.method = name_of(config.sampling_method);
  const DiffusionSettings& diffusion = config.diffusion;
  run.title = config.sampling_method == SamplingMethod::standard ? "standard sampling"
              : diffusion.forwards
                  ? fmt::format("{}, {} forwards", diffusion.strategy->name, *diffusion.forwards)
                  : fmt::format("{}, {} iterations", diffusion.strategy->name, iterations_of(diffusion));
  run.command = to_command(settled);
  run.header = std::move(header);
  run.description = nlohmann::ordered_json::array();
  for (const auto& [label, value] : description.header) {
    if (!value.empty()) {
      run.description.push_back({label, value});
    }
  }
  run.mask_token_id = context.mask_token_id;
  return run;
}

}  // namespace demask
