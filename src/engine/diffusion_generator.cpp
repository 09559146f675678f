#include "engine/diffusion_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "core/notice.h"
#include "engine/drawing.h"
#include "engine/infill.h"
#include "engine/patterns.h"
#include "engine/prompt_tokens.h"
#include "engine/resolve.h"
#include "sampling/matching_draw.h"
#include "sampling/strategies/policies.h"
#include "sampling/strategy_plan.h"

namespace demask {
namespace {

// Texts that a forward asks about a gap's length.
constexpr int64_t most_texts_asked = 128;

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

// Which steps judge, in a word. A step that leaves nothing masked has nothing to judge, so it fits either word.
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

// A remasking model, checked against the vocabulary.
std::unique_ptr<LanguageModel> open_remasking_model(const Context& context, const std::string& path) {
  std::unique_ptr<LanguageModel> model = open_model(context, path);
  const ModelInfo& info = model->info();
  if (info.output_size != 2 || !info.every_position) {
    fail(ExitCode::bad_input,
         "'{}' is not a remasking model: it must give two classes at every position, and gives {} outputs.", path,
         info.output_size);
  }
  if (info.input_size > 0 && context.vocabulary->size() > info.input_size) {
    fail(ExitCode::bad_input, "'{}' knows {} tokens, but the vocabulary has {}: it belongs to another dataset.", path,
         info.input_size, context.vocabulary->size());
  }
  return model;
}

void check_keeps_blocks(const Context& context) {
  const CacheKind cache = context.config.diffusion.cache;
  if (cache != CacheKind::none && !context.model->info().keeps_blocks) {
    fail(
        ExitCode::bad_input,
        "cache='{}' is for models that demask runs natively, and '{}' runs as the TorchScript module that it is, whose "
        "keys and values nobody can keep: leave cache out.",
        name_of(cache), context.checkpoint);
  }
}

// What messages call the key that makes a template as long as it is.
std::string length_key(const Prompt& given) {
  return given.infill ? "infill" : given.infill_text ? "infill_text" : "sequence_length";
}

std::vector<DiffusionTask> to_diffusion_tasks(const std::vector<SampleTask>& samples) {
  std::vector<DiffusionTask> tasks;
  tasks.reserve(samples.size());
  for (const SampleTask& sample : samples) {
    tasks.push_back({sample.stream, &sample.prompt->text, sample.traced, sample.identity});
  }
  return tasks;
}

class DiffusionGenerator : public Generator {
 public:
  // `first` is a generator on another device, whose prompts this one draws; or null.
  DiffusionGenerator(const Context& context, const std::function<bool()>& gives_up, const DiffusionGenerator* first)
      : context_(context),
        model_(*context.model, context.checkpoint),
        patterns_(first != nullptr ? first->patterns_ : std::make_shared<Patterns>(context)),
        kinds_(first != nullptr ? first->kinds_ : std::make_shared<BatchKinds>()) {
    const Config& config = context.config;
    const DiffusionSettings& settings = config.diffusion;
    if (settings.remasking_checkpoint_name) {
      remasking_path_ = remasking_checkpoint_path(config);
      remasking_model_ = first != nullptr ? model_like(*first->remasking_model_, context, remasking_path_)
                                          : open_remasking_model(context, remasking_path_);
      checked_remasking_model_ = std::make_unique<CheckedModel>(*remasking_model_, remasking_path_);
    }
    check_keeps_blocks(context);
    policy_ = make_policy(settings, checked_remasking_model_.get());
    options_.draw = draw_options(config);
    options_.mask_token_id = *context.mask_token_id;
    options_.forbidden = forbidden_bias(context.allowed, context.model->info().output_size, context.device);
    if (policy_->reads_words()) {
      options_.words = word_edges(*context.vocabulary, context.model->info().output_size, context.device);
    }
    options_.gives_up = gives_up;
    options_.on_unrecordable = notice_unrecordable;
    if (first == nullptr) {
      tell_of_settings();
    }
    plan_strategy(settings, *policy_, options_);
    sampler_ = std::make_unique<DiffusionSampler>(model_, *policy_, options_);
    gaps_ = std::make_unique<GapChooser>(model_, options_.mask_token_id, options_.draw.filters.temperature == 0);
  }

  std::shared_ptr<const PreparedPrompt> prepare(const Prompt& given, bool quiet) override {
    auto prompt = std::make_shared<PreparedPrompt>();
    const std::string key = length_key(given);
    GappedTemplate gapped = make_template(given, quiet);
    prompt->gaps = std::move(gapped.gaps);
    prompt->unshown = unshown_tokens(given, *context_.vocabulary);
    set_text(*prompt, std::move(gapped.text));
    int64_t least = prompt->generated;
    for (const Gap& gap : prompt->gaps) {
      least -= gap.most - gap.least;
    }
    options_.plan({}, least);  // so that a plan that cannot be is refused before any sample is drawn
    check_length(context_.model->info(), context_.checkpoint, key, prompt->length);
    if (remasking_model_) {
      check_length(remasking_model_->info(), remasking_path_, key, prompt->length);
    }
    prompt->text.pattern = patterns_->of(given);
    prompt->text.unshown = prompt->unshown;
    if (prompt->text.pattern && prompt->gaps.empty()) {
      patterns_->check_has_completion(prompt->text.pattern, partial_text(prompt->text));
    } else if (!may_match(prompt->text, prompt->gaps, {})) {
      patterns_->refuse_gaps(prompt->text.pattern, key);
    }
    if (options_.cfg_scale > 0 && prompt->generated == prompt->length) {
      fail(ExitCode::bad_usage, "cfg_scale={} guides by a prompt, and there is none: give start_text or infill_text.",
           options_.cfg_scale);
    }
    set_kind(*prompt);
    return prompt;
  }

  void settle(std::vector<SampleTask>& tasks) override {
    std::vector<GapTask> open;
    std::vector<size_t> places;
    for (size_t place = 0; place < tasks.size(); ++place) {
      if (const PreparedPrompt& prompt = *tasks[place].prompt; !prompt.gaps.empty()) {
        open.push_back({tasks[place].stream, &prompt.text, &prompt.gaps});
        places.push_back(place);
      }
    }
    const std::vector<std::vector<int64_t>> lengths = gaps_->choose(open, most_texts_asked);
    for (size_t k = 0; k < places.size(); ++k) {
      auto own = std::make_shared<PreparedPrompt>();
      own->unshown = tasks[places[k]].prompt->unshown;
      set_text(*own, with_lengths(*open[k].longest, *open[k].gaps, lengths[k]));
      tasks[places[k]].prompt = own;
    }
  }

  std::vector<DrawnSample> draw(const std::vector<SampleTask>& tasks, Observer* observer) override {
    std::vector<DrawnSample> samples = sampler_->sample(to_diffusion_tasks(tasks), observer);
    if (checked_remasking_model_) {
      checked_remasking_model_->check();
    }
    return samples;
  }

  void try_step(const std::vector<SampleTask>& tasks) override { sampler_->try_step(to_diffusion_tasks(tasks)); }

  int64_t forwards() const override { return sampler_->forwards() + gaps_->forwards(); }

  std::unique_ptr<Generator> on_device(const Context& context) const override {
    return std::make_unique<DiffusionGenerator>(context, options_.gives_up, this);
  }

  double computed_share() const override { return sampler_->computed_share(); }

  std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& prompt) const override {
    const DiffusionSettings& settings = context_.config.diffusion;
    const int64_t steps = options_.plan_per_sample ? planned_steps(settings, prompt.generated)
                                                   : static_cast<int64_t>(options_.plan({}, prompt.generated).size());
    const std::string at_most = prompt.gaps.empty() ? "" : "at most ";
    std::vector<std::pair<std::string, std::string>> lines = {
        {"length", fmt::format("{}{} tokens, {}{} of them to fill", at_most, prompt.length, at_most, prompt.generated)},
        {"schedule", describe_schedule(settings, steps)},
        {settings.strategy->describe == nullptr ? "strategy" : "remasking", describe_strategy(settings)},
        {"drawing", describe_draw(options_.draw, options_.temperature_end, options_.judges_filtered)}};
    if (prompt.text.pattern) {
      lines.emplace_back("pattern", describe_pattern(*prompt.text.pattern));
    }
    return lines;
  }

 private:
  void tell_of_settings() const {
    const auto is_given = [this](std::string_view key) { return context_.given.count(std::string(key)) > 0; };
    for (const std::string& text : notices_about(context_.config.diffusion, is_given)) {
      notice("{}", text);
    }
  }

  // The text, and what follows from it.
  void set_text(PreparedPrompt& prompt, Template text) {
    prompt.text = std::move(text);
    prompt.length = prompt.text.length();
    prompt.generated = prompt.text.free_positions();
    set_kind(prompt);
  }

  void set_kind(PreparedPrompt& prompt) {
    const Plan plan = options_.plan({}, prompt.generated);
    prompt.batch_kind =
        kinds_->number(fmt::format("{} {} {} {}", prompt.length, options_.block_length ? prompt.generated : 0,
                                   judged_steps(plan), prompt.text.pattern ? "pattern" : "free"));
  }

  GappedTemplate make_template(const Prompt& given, bool quiet) const {
    const Config& config = context_.config;
    const Vocabulary& vocabulary = *context_.vocabulary;
    const TextReading reading = text_reading(config, quiet);
    const int64_t mask = *context_.mask_token_id;
    const std::vector<int64_t> start = prompt_ids(given, vocabulary, context_.model->info(), reading);
    const InfillMarks marks = {config.mask_char, config.gap_char, config.gap_min, config.gap_max};
    GappedTemplate gapped;
    std::string key = given.tokens ? "tokens" : "start_text";
    if (given.infill || given.infill_text) {
      key = length_key(given);
      gapped = infill_template(key, given.infill ? *given.infill : infill_parts(*given.infill_text, marks), vocabulary,
                               mask, reading);
    } else {
      gapped.text = prefix_template(key, start, given.sequence_length.value_or(config.sequence_length), mask);
    }
    check_has_no_mask(key, gapped.text, mask, vocabulary);
    return gapped;
  }

  const Context& context_;
  CheckedModel model_;
  std::shared_ptr<Patterns> patterns_;
  std::string remasking_path_;
  std::unique_ptr<LanguageModel> remasking_model_;  // none where the settings name none
  std::unique_ptr<CheckedModel> checked_remasking_model_;
  std::unique_ptr<RevealPolicy> policy_;
  DiffusionOptions options_;
  std::shared_ptr<BatchKinds> kinds_;
  std::unique_ptr<DiffusionSampler> sampler_;
  std::unique_ptr<GapChooser> gaps_;
};

}  // namespace

void check_diffusion_model(const Context& context) {
  check_diffusion_model(context.model->info(), context.checkpoint, *context.vocabulary, context.mask_token_id);
}

std::unique_ptr<Generator> make_diffusion_generator(const Context& context, const std::function<bool()>& gives_up) {
  check_diffusion_model(context);
  return std::make_unique<DiffusionGenerator>(context, gives_up, nullptr);
}

}  // namespace demask
