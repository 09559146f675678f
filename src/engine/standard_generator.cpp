#include "engine/standard_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/notice.h"
#include "engine/drawing.h"
#include "engine/patterns.h"
#include "engine/prompt_tokens.h"
#include "engine/resolve.h"
#include "sampling/autoregressive_sampler.h"

namespace demask {
namespace {

std::vector<AutoregressiveTask> to_standard_tasks(const std::vector<SampleTask>& samples) {
  std::vector<AutoregressiveTask> tasks;
  tasks.reserve(samples.size());
  for (const SampleTask& sample : samples) {
    const MatchRule& rule = sample.prompt->rule;
    tasks.push_back({sample.stream, &sample.prompt->tokens, sample.prompt->generated, sample.traced, sample.identity,
                     rule.pattern ? &rule : nullptr});
  }
  return tasks;
}

AutoregressiveOptions options_for(const Context& context, const std::function<bool()>& gives_up) {
  AutoregressiveOptions options;
  options.draw = draw_options(context.config);
  options.forbidden = forbidden_bias(context.allowed, context.model->info().output_size, context.device);
  options.first_tokens = context.allowed;
  options.gives_up = gives_up;
  options.on_unrecordable = notice_unrecordable;
  return options;
}

class StandardGenerator : public Generator {
 public:
  StandardGenerator(const Context& context, const std::function<bool()>& gives_up, std::shared_ptr<Patterns> patterns)
      : context_(context),
        model_(*context.model, context.checkpoint),
        patterns_(std::move(patterns)),
        options_(options_for(context, gives_up)),
        sampler_(model_, options_) {}

  std::shared_ptr<const PreparedPrompt> prepare(const Prompt& given, bool quiet) override {
    const Config& config = context_.config;
    if (given.infill_text || given.infill) {
      fail(ExitCode::bad_usage,
           "{} needs --sampling_method=diffusion: standard sampling writes from left to right only.",
           given.infill ? "infill" : "infill_text");
    }
    auto prompt = std::make_shared<PreparedPrompt>();
    read_beginning(given, quiet, *prompt);
    prompt->generated = given.max_new_tokens.value_or(config.max_new_tokens);
    prompt->length = static_cast<int64_t>(std::max<size_t>(prompt->tokens.size(), 1)) + prompt->generated;
    if (const std::shared_ptr<const TokenAutomaton> pattern = patterns_->of(given)) {
      set_rule(pattern, *prompt);
    }
    tell_of_outgrowing(*prompt, quiet);
    return prompt;
  }

  std::vector<DrawnSample> draw(const std::vector<SampleTask>& tasks, Observer* observer) override {
    return sampler_.sample(to_standard_tasks(tasks), observer);
  }

  void try_step(const std::vector<SampleTask>& tasks) override { sampler_.try_step(to_standard_tasks(tasks)); }

  int64_t forwards() const override { return sampler_.forwards(); }

  std::unique_ptr<Generator> on_device(const Context& context) const override {
    return std::make_unique<StandardGenerator>(context, options_.gives_up, patterns_);
  }

  std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& prompt) const override {
    std::vector<std::pair<std::string, std::string>> lines = {
        {"length", fmt::format("{} new tokens after {} of prompt", prompt.generated, prompt.tokens.size())},
        {"drawing", describe_draw(options_.draw)}};
    if (prompt.rule.pattern) {
      lines.emplace_back("pattern", describe_pattern(*prompt.rule.pattern));
    }
    return lines;
  }

 private:
  // Without a text a model of pieces starts as it does after the end of another, where it knows such a token; others
  // leave the first token to chance.
  void read_beginning(const Prompt& given, bool quiet, PreparedPrompt& prompt) const {
    const Vocabulary& vocabulary = *context_.vocabulary;
    prompt.tokens = prompt_ids(given, vocabulary, context_.model->info(), text_reading(context_.config, quiet));
    prompt.unshown = unshown_tokens(given, vocabulary);
    if (prompt.tokens.empty() && !vocabulary.characters() && vocabulary.end_of_text()) {
      prompt.tokens = {*vocabulary.end_of_text()};
      prompt.unshown = 1;
    }
  }

  void set_rule(const std::shared_ptr<const TokenAutomaton>& pattern, PreparedPrompt& prompt) {
    PartialText text;
    text.slots.assign(prompt.unshown, PatternSlot::unshown);
    text.slots.resize(prompt.tokens.size(), PatternSlot::given);
    text.slots.resize(static_cast<size_t>(prompt.length), PatternSlot::masked);
    text.tokens = prompt.tokens;
    text.tokens.resize(text.slots.size());
    patterns_->check_has_completion(pattern, text);
    prompt.rule = {pattern, patterns_->reachable(pattern, prompt.length), static_cast<int64_t>(prompt.unshown)};
    prompt.batch_kind = 1;
  }

  // Once a run, where a text is to grow longer than the model's block.
  void tell_of_outgrowing(const PreparedPrompt& prompt, bool quiet) {
    const auto text =
        outgrowing_notice(context_.model->info(), context_.checkpoint, prompt.length - prompt.generated, prompt.length);
    if (!quiet && !told_ && text) {
      notice("{}", *text);
      told_ = true;
    }
  }

  const Context& context_;
  bool told_ = false;
  CheckedModel model_;
  std::shared_ptr<Patterns> patterns_;
  AutoregressiveOptions options_;
  AutoregressiveSampler sampler_;
};

}  // namespace

std::unique_ptr<Generator> make_standard_generator(const Context& context, const std::function<bool()>& gives_up) {
  const ModelInfo& info = context.model->info();
  if (context.config.diffusion.remasking_checkpoint_name) {
    notice("remasking_checkpoint_name has no use in standard sampling.");
  }
  if (info.bidirectional && info.every_position) {
    notice("'{}' is bidirectional: it was not trained to write from left to right.", context.checkpoint);
  }
  return std::make_unique<StandardGenerator>(context, gives_up, std::make_shared<Patterns>(context));
}

}  // namespace demask
