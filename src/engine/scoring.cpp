#include "engine/scoring.h"

#include <fmt/format.h>

#include <exception>

#include "core/error.h"
#include "core/notice.h"
#include "engine/diffusion_generator.h"
#include "model/device.h"

namespace demask {
namespace {

// Where the model does not say which it is, sampling_method does.
bool is_autoregressive(const Context& context) {
  const ModelInfo& info = context.model->info();
  return info.causal || (!info.bidirectional && context.config.sampling_method == SamplingMethod::standard);
}

void check_autoregressive_model(const Context& context) {
  const ModelInfo& info = context.model->info();
  if (!is_autoregressive(context)) {
    fail(
        ExitCode::bad_usage,
        "score_method='exact' needs a model that writes from left to right, and '{}' sees the whole text. Use bound or "
        "pseudo.",
        context.checkpoint);
  }
  if (!info.every_position) {
    fail(ExitCode::bad_input,
         "'{}' cannot score texts: its forward gives logits at the last position only. Export a module that gives them "
         "at every position (tools/export_torchscript.py).",
         context.checkpoint);
  }
}

}  // namespace

ScoreMethod resolve_score_method(const Context& context) {
  ScoreMethod method = context.config.score_method;
  if (method == ScoreMethod::automatic) {
    method = is_autoregressive(context) ? ScoreMethod::exact : ScoreMethod::bound;
  }
  if (method == ScoreMethod::exact) {
    check_autoregressive_model(context);
    return method;
  }
  if (context.model->info().causal) {
    fail(ExitCode::bad_usage,
         "score_method='{}' is for models that fill masks, and '{}' writes from left to right. Use exact.",
         name_of(method), context.checkpoint);
  }
  check_diffusion_model(context);
  return method;
}

std::string_view method_name(const Context& context) {
  return context.config.score ? name_of(resolve_score_method(context)) : name_of(context.config.sampling_method);
}

ScoreOptions score_options(const Context& context, const std::function<bool()>& gives_up) {
  const Config& config = context.config;
  ScoreOptions options;
  options.method = resolve_score_method(context);
  options.draws = config.score_draws;
  options.mask_token_id = context.mask_token_id.value_or(0);
  options.cfg_scale = config.diffusion.cfg_scale;
  options.most_rows = config.batch_size;
  options.gives_up = gives_up;
  return options;
}

std::string describe_scores(const ScoreOptions& options) {
  const std::string_view name = name_of(options.method);
  return options.method == ScoreMethod::bound ? fmt::format("{} by {} draws", name, options.draws) : std::string(name);
}

std::shared_ptr<Scorer::UnderWay> begin_in_memory(Scorer& scorer, const std::vector<ScoreText>& texts,
                                                  at::Device device, Observer* observer) {
  for (;;) {
    try {
      return scorer.begin(texts, observer);
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error) || !scorer.halve_rows()) {
        throw;
      }
    }
    release_cached_memory(device);
    notice("out of memory on {} while texts were scored; going on with half as much at once.", device.str());
  }
}

}  // namespace demask
