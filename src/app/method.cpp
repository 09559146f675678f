#include "demask/app/method.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "demask/app/interrupt.h"
#include "demask/app/prompt.h"
#include "demask/app/resolve.h"
#include "demask/app/strategy.h"
#include "demask/core/error.h"
#include "demask/sampling/autoregressive_sampler.h"
#include "demask/sampling/diffusion_sampler.h"

namespace demask {
namespace {

void check_length(const ModelInfo& info, const std::string& checkpoint, const std::string& key, int64_t length) {
  if (info.block_size > 0 && length > info.block_size) {
    fail(ExitCode::bad_usage, "{} gives {} tokens, but '{}' reads at most {} (its block size).", key, length,
         checkpoint, info.block_size);
  }
}

void notice_unrecordable(const std::string& reason) {
  notice(fmt::format("the steps could not be recorded as a CUDA graph and are launched one by one, which is slower: {}",
                     reason));
}

Template make_template(const Session& session) {
  const Config& config = session.config;
  const bool skip_unknown = config.unknown_chars == "skip";
  const std::string start = read_text_argument("start_text", config.start_text);
  if (!config.infill_text) {
    return prefix_template(encode_text("start_text", start, *session.vocabulary, skip_unknown), config.sequence_length,
                           *session.mask_token_id);
  }
  if (!start.empty()) {
    fail(ExitCode::bad_usage, "start_text and infill_text exclude each other: put the start into the template.");
  }
  return infill_template(read_text_argument("infill_text", *config.infill_text), config.mask_char, *session.vocabulary,
                         *session.mask_token_id, skip_unknown);
}

void check_schedule(const Config& config) {
  const bool falls = config.start_ratio >= config.end_ratio;
  if (!falls && (config.schedule_type == "linear" || config.schedule_type == "power")) {
    notice(fmt::format("start_ratio={} is below end_ratio={}: the masked share grows from one iteration to the next.",
                       config.start_ratio, config.end_ratio));
  }
}

void check_diffusion_model(const Session& session) {
  const ModelInfo& info = session.model->info();
  if (!session.mask_token_id) {
    fail(ExitCode::bad_input,
         "'{}' cannot do diffusion: it has no row for a mask token beyond its {} characters{}. Use "
         "--sampling_method=standard, or a "
         "checkpoint trained for diffusion.",
         session.checkpoint, session.vocabulary->size(), info.causal ? " (a causal language model)" : "");
  }
  if (!info.every_position) {
    fail(ExitCode::bad_input,
         "'{}' cannot do diffusion: its forward gives logits at the last position only. Use "
         "--sampling_method=standard, or export a "
         "module that gives them at every position (tools/export_torchscript.py).",
         session.checkpoint);
  }
  if (info.input_size > 0 && *session.mask_token_id >= info.input_size) {
    fail(ExitCode::bad_input, "'{}' cannot do diffusion: it has no embedding for mask_token_id={}.", session.checkpoint,
         *session.mask_token_id);
  }
}

// The models and the policy behind one diffusion run; the samplers hold references into it.
struct DiffusionParts {
  explicit DiffusionParts(const Session& session) : model(*session.model, session.checkpoint) {}
  WatchedModel model;
  std::unique_ptr<LanguageModel> remasking_model;
  std::unique_ptr<WatchedModel> watched_remasking_model;
  std::unique_ptr<RevealPolicy> policy;
  std::unique_ptr<DiffusionSampler> sampler;
  Template text;
};

void choose_policy(const Session& session, DiffusionParts& parts) {
  const Config& config = session.config;
  if (config.remasking_checkpoint_name) {
    const std::string path = remasking_checkpoint_path(config);
    parts.remasking_model = open_model(session, path);
    const ModelInfo& info = parts.remasking_model->info();
    if (info.output_size != 2 || !info.every_position) {
      fail(ExitCode::bad_input,
           "'{}' is not a remasking model: it must give two classes at every position, and gives {} outputs.", path,
           info.output_size);
    }
    if (info.input_size > 0 && session.vocabulary->size() > info.input_size) {
      fail(ExitCode::bad_input, "'{}' knows {} tokens, but the vocabulary has {}: it belongs to another dataset.", path,
           info.input_size, session.vocabulary->size());
    }
    check_length(info, path, config.infill_text ? "infill_text" : "sequence_length", parts.text.length());
    parts.watched_remasking_model = std::make_unique<WatchedModel>(*parts.remasking_model, path);
  }
  parts.policy = make_policy(config, parts.watched_remasking_model.get());
}

std::string describe_draw(const DrawOptions& draw, std::optional<double> temperature_end = {}) {
  std::string text = draw.temperature == 0 ? "greedy" : fmt::format("temperature {}", draw.temperature);
  text += temperature_end ? fmt::format(" to {}", *temperature_end) : "";
  if (draw.temperature != 0 && draw.top_k) {
    text += fmt::format(", top_k {}", *draw.top_k);
  }
  if (draw.temperature != 0 && draw.top_p < 1) {
    text += fmt::format(", top_p {}", draw.top_p);
  }
  if (draw.repetition_penalty != 1 && draw.repetition_window > 0) {
    text += fmt::format(", repetition penalty {} over {} tokens", draw.repetition_penalty, draw.repetition_window);
  }
  return text;
}

DrawOptions draw_options(const Config& config) {
  const bool standard = config.sampling_method == "standard";
  DrawOptions draw;
  draw.temperature = standard ? config.std_temperature : config.temperature;
  draw.top_k = standard ? config.top_k : std::nullopt;
  draw.top_p = config.top_p;
  draw.repetition_penalty = config.repetition_penalty;
  draw.repetition_window = config.repetition_window;
  return draw;
}

Method make_diffusion(const Session& session, const ParsedConfig& parsed) {
  check_diffusion_model(session);
  const auto parts = std::make_shared<DiffusionParts>(session);
  parts->text = make_template(session);
  check_length(session.model->info(), session.checkpoint,
               session.config.infill_text ? "infill_text" : "sequence_length", parts->text.length());
  choose_policy(session, *parts);
  const int64_t free = parts->text.free_positions();
  if (session.config.cfg_scale > 0 && free == parts->text.length()) {
    fail(ExitCode::bad_usage, "cfg_scale={} guides by a prompt, and there is none: give start_text or infill_text.",
         session.config.cfg_scale);
  }
  check_schedule(session.config);
  DiffusionOptions options;
  options.draw = draw_options(session.config);
  options.seed = static_cast<uint64_t>(session.config.seed);
  options.mask_token_id = *session.mask_token_id;
  options.forbidden = forbidden_bias(session.allowed, session.model->info().output_size, session.device);
  const int64_t steps = plan_strategy(parsed, *parts->policy, free, options);
  options.on_unrecordable = notice_unrecordable;
  parts->sampler = std::make_unique<DiffusionSampler>(parts->model, *parts->policy, options);

  Method method;
  method.length = parts->text.length();
  method.generated = free;
  method.draw = [parts](int64_t first, int64_t count, Observer* observer) {
    std::vector<Sample> samples = parts->sampler->sample(first, count, parts->text, observer, interrupted);
    if (parts->watched_remasking_model) {
      parts->watched_remasking_model->check();
    }
    return samples;
  };
  method.forwards = [parts] { return parts->sampler->forwards(); };
  method.header = {{"length", fmt::format("{} tokens, {} of them to fill", method.length, method.generated)},
                   {"schedule", describe_schedule(session.config, *parts->policy, steps)},
                   {session.config.strategy == "remask" ? "remasking" : "strategy", describe_strategy(session.config)},
                   {"drawing", describe_draw(options.draw, options.temperature_end)}};
  return method;
}

Method make_standard(const Session& session) {
  const Config& config = session.config;
  const ModelInfo& info = session.model->info();
  if (config.infill_text) {
    fail(ExitCode::bad_usage,
         "infill_text needs --sampling_method=diffusion: standard sampling writes from left to right only.");
  }
  if (config.remasking_checkpoint_name) {
    notice("remasking_checkpoint_name has no use in standard sampling.");
  }
  if (!info.causal && info.every_position && info.block_size > 0) {
    notice(fmt::format("'{}' is bidirectional: it was not trained to write from left to right.", session.checkpoint));
  }
  const std::vector<int64_t> prompt = encode_text("start_text", read_text_argument("start_text", config.start_text),
                                                  *session.vocabulary, config.unknown_chars == "skip");
  AutoregressiveOptions options{draw_options(config), static_cast<uint64_t>(config.seed), config.max_new_tokens,
                                forbidden_bias(session.allowed, info.output_size, session.device), session.allowed};
  options.on_unrecordable = notice_unrecordable;
  const auto model = std::make_shared<WatchedModel>(*session.model, session.checkpoint);
  const auto sampler = std::make_shared<AutoregressiveSampler>(*model, options);

  Method method;
  method.length = static_cast<int64_t>(std::max<size_t>(prompt.size(), 1)) + config.max_new_tokens;
  method.generated = config.max_new_tokens;
  method.draw = [model, sampler, prompt](int64_t first, int64_t count, Observer* observer) {
    return sampler->sample(first, count, prompt, observer, interrupted);
  };
  method.forwards = [sampler] { return sampler->forwards(); };
  method.header = {{"length", fmt::format("{} new tokens after {} of prompt", config.max_new_tokens, prompt.size())},
                   {"drawing", describe_draw(options.draw)}};
  return method;
}

}  // namespace

Method make_method(const Session& session, const ParsedConfig& parsed) {
  return session.config.sampling_method == "diffusion" ? make_diffusion(session, parsed) : make_standard(session);
}

}  // namespace demask
