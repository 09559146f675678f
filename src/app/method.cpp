#include "app/method.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "app/prompt.h"
#include "app/resolve.h"
#include "app/strategy.h"
#include "core/error.h"
#include "sampling/autoregressive_sampler.h"
#include "sampling/diffusion_sampler.h"

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

// Empty where the prompt gives none.
std::string start_text_of(const WorkItem& item) {
  return text_of(item, "start_text", item.start_text.value_or(""));
}

Template make_template(const Session& session, const WorkItem& item, bool quiet) {
  const Config& config = session.config;
  const UnknownCharacters unknown{config.unknown_chars == "skip", quiet};
  const std::string start = start_text_of(item);
  if (!item.infill_text) {
    return prefix_template(encode_text("start_text", start, *session.vocabulary, unknown),
                           item.sequence_length.value_or(config.sequence_length), *session.mask_token_id);
  }
  if (!start.empty()) {
    fail(ExitCode::bad_usage, "start_text and infill_text exclude each other: put the start into the template.");
  }
  return infill_template(text_of(item, "infill_text", *item.infill_text), config.mask_char, *session.vocabulary,
                         *session.mask_token_id, unknown);
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

// Numbers for texts that can be drawn together: of one length, and where blocks or judged steps differ from text to
// text, alike in these.
class BatchKinds {
 public:
  int64_t number(const std::string& kind) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return numbers_.emplace(kind, static_cast<int64_t>(numbers_.size())).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int64_t> numbers_;
};

// Which steps judge, in a word: a step that leaves nothing masked may or may not be one, for it judges nothing.
std::string judged_steps(const Plan& plan) {
  const auto chooses = [](const PlannedStep& step) { return step.masked > 0; };
  if (std::none_of(plan.begin(), plan.end(), [](const PlannedStep& step) { return step.judged; })) {
    return "none";
  }
  if (std::all_of(plan.begin(), plan.end(), [&](const PlannedStep& step) { return step.judged || !chooses(step); })) {
    return "all";
  }
  std::string steps;
  for (const PlannedStep& step : plan) {
    steps += step.judged ? '1' : '0';
  }
  return steps;
}

// The models and the policy behind one diffusion run; the samplers hold references into it.
struct DiffusionParts {
  explicit DiffusionParts(const Session& session) : model(*session.model, session.checkpoint) {}
  WatchedModel model;
  std::unique_ptr<LanguageModel> remasking_model;
  std::unique_ptr<WatchedModel> watched_remasking_model;
  std::unique_ptr<RevealPolicy> policy;
  std::string remasking_path;
  std::unique_ptr<DiffusionSampler> sampler;
  DiffusionOptions options;
  BatchKinds kinds;
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
    parts.remasking_path = path;
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

std::shared_ptr<const PreparedPrompt> prepare_template(const Session& session, DiffusionParts& parts,
                                                       const WorkItem& item, bool quiet) {
  auto prompt = std::make_shared<PreparedPrompt>();
  prompt->text = make_template(session, item, quiet);
  prompt->length = prompt->text.length();
  prompt->generated = prompt->text.free_positions();
  const std::string key = item.infill_text ? "infill_text" : "sequence_length";
  check_length(session.model->info(), session.checkpoint, key, prompt->length);
  if (parts.remasking_model) {
    check_length(parts.remasking_model->info(), parts.remasking_path, key, prompt->length);
  }
  if (session.config.cfg_scale > 0 && prompt->generated == prompt->length) {
    fail(ExitCode::bad_usage, "cfg_scale={} guides by a prompt, and there is none: give start_text or infill_text.",
         session.config.cfg_scale);
  }
  const Plan plan = parts.options.plan({}, prompt->generated);
  prompt->batch_kind = parts.kinds.number(
      fmt::format("{} {} {}", prompt->length, parts.options.block_length ? prompt->generated : 0, judged_steps(plan)));
  return prompt;
}

std::vector<DiffusionTask> diffusion_tasks(const std::vector<Request>& requests) {
  std::vector<DiffusionTask> tasks;
  tasks.reserve(requests.size());
  for (const Request& request : requests) {
    tasks.push_back({request.stream, &request.prompt->text, request.traced});
  }
  return tasks;
}

Method make_diffusion(const Session& session, const ParsedConfig& parsed) {
  check_diffusion_model(session);
  const auto parts = std::make_shared<DiffusionParts>(session);
  choose_policy(session, *parts);
  check_schedule(session.config);
  DiffusionOptions& options = parts->options;
  options.draw = draw_options(session.config);
  options.mask_token_id = *session.mask_token_id;
  options.forbidden = forbidden_bias(session.allowed, session.model->info().output_size, session.device);
  options.on_unrecordable = notice_unrecordable;
  plan_strategy(parsed, *parts->policy, options);

  Method method;
  method.prepare = [parts, &session](const WorkItem& item, bool quiet) {
    return prepare_template(session, *parts, item, quiet);
  };
  parts->sampler = std::make_unique<DiffusionSampler>(parts->model, *parts->policy, options);
  method.draw = [parts](const std::vector<Request>& requests, Observer* observer) {
    std::vector<Sample> samples = parts->sampler->sample(diffusion_tasks(requests), observer);
    if (parts->watched_remasking_model) {
      parts->watched_remasking_model->check();
    }
    return samples;
  };
  method.try_step = [parts](const std::vector<Request>& requests) {
    parts->sampler->try_step(diffusion_tasks(requests));
  };
  method.forwards = [parts] { return parts->sampler->forwards(); };
  method.describe = [parts, &config = session.config](const PreparedPrompt& prompt) {
    const DiffusionOptions& own = parts->options;
    const int64_t steps = own.plan_per_sample ? planned_steps(config, prompt.generated)
                                              : static_cast<int64_t>(own.plan({}, prompt.generated).size());
    return std::vector<std::pair<std::string, std::string>>{
        {"length", fmt::format("{} tokens, {} of them to fill", prompt.length, prompt.generated)},
        {"schedule", describe_schedule(config, *parts->policy, steps)},
        {config.strategy == "remask" ? "remasking" : "strategy", describe_strategy(config)},
        {"drawing", describe_draw(own.draw, own.temperature_end)}};
  };
  return method;
}

std::shared_ptr<const PreparedPrompt> prepare_prompt(const Session& session, const WorkItem& item, bool quiet) {
  if (item.infill_text) {
    fail(ExitCode::bad_usage,
         "infill_text needs --sampling_method=diffusion: standard sampling writes from left to right only.");
  }
  auto prompt = std::make_shared<PreparedPrompt>();
  prompt->tokens = encode_text("start_text", start_text_of(item), *session.vocabulary,
                               {session.config.unknown_chars == "skip", quiet});
  prompt->generated = item.max_new_tokens.value_or(session.config.max_new_tokens);
  prompt->length = static_cast<int64_t>(std::max<size_t>(prompt->tokens.size(), 1)) + prompt->generated;
  return prompt;
}

std::vector<AutoregressiveTask> autoregressive_tasks(const std::vector<Request>& requests) {
  std::vector<AutoregressiveTask> tasks;
  tasks.reserve(requests.size());
  for (const Request& request : requests) {
    tasks.push_back({request.stream, &request.prompt->tokens, request.prompt->generated, request.traced});
  }
  return tasks;
}

Method make_standard(const Session& session) {
  const Config& config = session.config;
  const ModelInfo& info = session.model->info();
  Method method;
  method.prepare = [&session](const WorkItem& item, bool quiet) { return prepare_prompt(session, item, quiet); };
  if (config.remasking_checkpoint_name) {
    notice("remasking_checkpoint_name has no use in standard sampling.");
  }
  if (!info.causal && info.every_position && info.block_size > 0) {
    notice(fmt::format("'{}' is bidirectional: it was not trained to write from left to right.", session.checkpoint));
  }
  AutoregressiveOptions options{draw_options(config), forbidden_bias(session.allowed, info.output_size, session.device),
                                session.allowed};
  options.on_unrecordable = notice_unrecordable;
  const auto model = std::make_shared<WatchedModel>(*session.model, session.checkpoint);
  const auto sampler = std::make_shared<AutoregressiveSampler>(*model, options);
  method.draw = [model, sampler](const std::vector<Request>& requests, Observer* observer) {
    return sampler->sample(autoregressive_tasks(requests), observer);
  };
  method.try_step = [model, sampler](const std::vector<Request>& requests) {
    sampler->try_step(autoregressive_tasks(requests));
  };
  method.forwards = [sampler] { return sampler->forwards(); };
  method.describe = [draw = options.draw](const PreparedPrompt& prompt) {
    return std::vector<std::pair<std::string, std::string>>{
        {"length", fmt::format("{} new tokens after {} of prompt", prompt.generated, prompt.tokens.size())},
        {"drawing", describe_draw(draw)}};
  };
  return method;
}

}  // namespace

std::vector<bool> PreparedPrompt::given() const {
  std::vector<bool> fixed = text.fixed;
  if (fixed.empty()) {
    fixed.resize(static_cast<size_t>(length), false);
    std::fill_n(fixed.begin(), length - generated, true);
  }
  return fixed;
}

WorkItem own_prompt(const Config& config) {
  WorkItem item;
  item.start_text = config.start_text;
  item.infill_text = config.infill_text;
  return item;
}

Method make_method(const Session& session, const ParsedConfig& parsed) {
  return session.config.sampling_method == "diffusion" ? make_diffusion(session, parsed) : make_standard(session);
}

std::vector<Request> consecutive(const Stream& first, int64_t count,
                                 const std::shared_ptr<const PreparedPrompt>& prompt) {
  std::vector<Request> requests;
  requests.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) {
    requests.push_back({{first.seed, first.index + k}, prompt, false});
  }
  return requests;
}

}  // namespace demask
