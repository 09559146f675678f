#include "app/observers.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "config/devices.h"
#include "core/notice.h"
#include "output/progress.h"
#include "output/step_views.h"

namespace demask {
namespace {

std::unique_ptr<LiveView> make_live_view(const Engine& engine, const Terminal& terminal) {
  const Context& context = engine.context();
  LiveOptions options;
  options.diffusion = context.config.sampling_method == SamplingMethod::diffusion;
  options.mask_token_id = context.shown_mask();
  options.colours = choose_colours(std::getenv("NO_COLOR"), std::getenv("COLORTERM"));
  options.forwards = [&engine] { return engine.forwards(); };
  return std::make_unique<LiveView>(terminal, *context.vocabulary, options);
}

std::unique_ptr<Progress> make_progress(const Config& config, std::optional<int64_t> samples) {
  ProgressOptions options;
  // A line that redraws itself would run into the views that are printed below it.
  options.terminal = isatty(STDERR_FILENO) != 0 && !config.use_verbose_logging && !config.log_debug;
  options.diffusion = config.sampling_method == SamplingMethod::diffusion;
  options.scoring = config.score.has_value();
  options.total_samples = samples;
  return std::make_unique<Progress>(stderr, options);
}

std::unique_ptr<StepViews> make_step_views(const Context& context) {
  StepViewOptions options;
  options.verbose = context.config.use_verbose_logging;
  options.debug = context.config.log_debug;
  options.mask_token_id = context.shown_mask();
  return std::make_unique<StepViews>(stderr, *context.vocabulary, options);
}

}  // namespace

Observers::Observers(const Engine& engine, std::optional<int64_t> samples) {
  const Config& config = engine.context().config;
  const bool looks_at_steps = config.live || config.use_verbose_logging || config.log_debug;
  if (looks_at_steps && engine.context().devices.size() > 1 && numbered_devices(config.device)) {
    notice("{}=True shows the steps of one device: {} draws alone.",
           config.live                  ? "live"
           : config.use_verbose_logging ? "use_verbose_logging"
                                        : "log_debug",
           engine.context().device.str());
  }
  if (const auto terminal = config.live ? find_terminal() : std::nullopt) {
    auto live = make_live_view(engine, *terminal);
    live_ = live.get();
    observers_.push_back(std::move(live));
  } else if (config.show_progress && (samples || engine.context().given.count("show_progress") > 0)) {
    observers_.push_back(make_progress(config, samples));
  }
  if (config.use_verbose_logging || config.log_debug) {
    observers_.push_back(make_step_views(engine.context()));
  }
}

void Observers::on_batch(const BatchView& batch) {
  for (const auto& observer : observers_) {
    observer->on_batch(batch);
  }
}

void Observers::on_step(const StepView& view) {
  for (const auto& observer : observers_) {
    observer->on_step(view);
  }
}

bool Observers::reads_tensors() const {
  return std::any_of(observers_.begin(), observers_.end(),
                     [](const auto& observer) { return observer->reads_tensors(); });
}

void Observers::on_batch_done() {
  for (const auto& observer : observers_) {
    observer->on_batch_done();
  }
}

void Observers::on_other_batch_done(int64_t samples, int64_t tokens) {
  for (const auto& observer : observers_) {
    observer->on_other_batch_done(samples, tokens);
  }
}

void Observers::close() {
  if (live_ != nullptr) {
    live_->close();
  }
}

}  // namespace demask
