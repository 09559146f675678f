#include "engine/drawing.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/notice.h"

namespace demask {

DrawOptions draw_options(const Config& config) {
  const bool standard = config.sampling_method == SamplingMethod::standard;
  DrawOptions draw;
  draw.filters.temperature = standard ? config.std_temperature : config.diffusion.temperature;
  draw.filters.top_k = config.top_k;
  draw.filters.top_p = config.top_p;
  draw.repetition_penalty = config.repetition_penalty;
  draw.repetition_window = config.repetition_window;
  return draw;
}

std::string describe_draw(const DrawOptions& draw, std::optional<double> temperature_end, bool judges_filtered) {
  const DrawFilters& filters = draw.filters;
  std::string text = filters.temperature == 0 ? "greedy" : fmt::format("temperature {}", filters.temperature);
  text += temperature_end ? fmt::format(" to {}", *temperature_end) : "";
  const bool filters_matter = filters.temperature != 0 || judges_filtered;
  if (filters_matter && filters.top_k) {
    text += fmt::format(", top_k {}", *filters.top_k);
  }
  if (filters_matter && filters.top_p < 1) {
    text += fmt::format(", top_p {}", filters.top_p);
  }
  if (draw.repetition_penalty != 1 && draw.repetition_window > 0) {
    text += fmt::format(", repetition penalty {} over {} tokens", draw.repetition_penalty, draw.repetition_window);
  }
  return text;
}

void check_length(const ModelInfo& info, const std::string& checkpoint, const std::string& key, int64_t length) {
  if (info.block_size > 0 && length > info.block_size) {
    fail(ExitCode::bad_usage, "{} gives {} tokens, but '{}' reads at most {} (its block size).", key, length,
         checkpoint, info.block_size);
  }
}

void notice_unrecordable(const std::string& reason) {
  notice("the steps could not be recorded as a CUDA graph and are launched one by one, which is slower: {}", reason);
}

}  // namespace demask
