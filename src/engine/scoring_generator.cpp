#include "engine/scoring_generator.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "engine/batching.h"
#include "engine/prompt_tokens.h"
#include "engine/scoring.h"

namespace demask {
namespace {

// Forwards' worth of texts that are scored together: where they are short, a device waits for the host between batches.
constexpr int64_t forwards_on_cuda = 16;

// Texts of an autoregressive model that are.
constexpr int64_t texts_on_cuda = 1024;

ScoreText to_text(const PreparedPrompt& prompt, const Stream& stream) {
  std::vector<bool> scored = prompt.given();
  scored.flip();
  return {stream, prompt.tokens, std::move(scored)};
}

class TextsUnderWay : public BatchUnderWay {
 public:
  TextsUnderWay(Scorer& scorer, std::shared_ptr<Scorer::UnderWay> under_way)
      : scorer_(scorer), under_way_(std::move(under_way)) {}

  std::vector<DrawnSample> finish(const std::vector<SampleTask>& tasks) override {
    std::vector<TextScore> scores = scorer_.finish(*under_way_);
    std::vector<DrawnSample> samples;
    for (size_t k = 0; k < tasks.size(); ++k) {
      const double mean = scores[k].log_likelihood / static_cast<double>(tasks[k].prompt->generated);
      samples.push_back({tasks[k].stream.index, tasks[k].prompt->tokens, mean, nullptr, std::move(scores[k])});
    }
    return samples;
  }

 private:
  Scorer& scorer_;
  std::shared_ptr<Scorer::UnderWay> under_way_;
};

class ScoringGenerator : public Generator {
 public:
  ScoringGenerator(const Context& context, const std::function<bool()>& gives_up)
      : context_(context),
        model_(*context.model, context.checkpoint),
        options_(score_options(context, gives_up)),
        scorer_(model_, options_) {}

  std::shared_ptr<const PreparedPrompt> prepare(const Prompt& given, bool quiet) override {
    auto prompt = std::make_shared<PreparedPrompt>();
    const TextReading reading = text_reading(context_.config, quiet);
    prompt->tokens = context_of(given, reading);
    const auto before = static_cast<int64_t>(prompt->tokens.size());
    const std::vector<int64_t> text = part("text", given.start_text, "tokens", given.tokens, reading);
    prompt->tokens.insert(prompt->tokens.end(), text.begin(), text.end());
    prompt->length = static_cast<int64_t>(prompt->tokens.size());
    // Nothing tells how likely the first token of all is.
    const bool first_is_given = options_.method == ScoreMethod::exact && before == 0;
    prompt->generated = static_cast<int64_t>(text.size()) - (first_is_given ? 1 : 0);
    check(*prompt, text.empty());
    const int64_t forwards = context_.device.is_cuda() ? forwards_on_cuda : 1;
    prompt->rows = (scorer_.rows_of(to_text(*prompt, {})) + forwards - 1) / forwards;
    return prompt;
  }

  std::vector<DrawnSample> draw(const std::vector<SampleTask>& tasks, Observer* observer) override {
    return begin_batch(tasks, observer)->finish(tasks);
  }

  // On the CPU a batch would be written when the next one is done, and nothing be won.
  std::unique_ptr<BatchUnderWay> begin(const std::vector<SampleTask>& tasks, Observer* observer) override {
    return context_.device.is_cuda() ? begin_batch(tasks, observer) : nullptr;
  }

  // The scorer's forwards are as large as serves the device, and smaller where memory runs out.
  std::optional<int64_t> own_rows() const override {
    return context_.device.is_cuda() && options_.method == ScoreMethod::exact ? texts_on_cuda : largest_batch;
  }

  void try_step(const std::vector<SampleTask>& tasks) override {
    scorer_.try_forward(to_text(*tasks.front().prompt, tasks.front().stream), static_cast<int64_t>(tasks.size()));
  }

  int64_t forwards() const override { return scorer_.forwards(); }

  std::unique_ptr<Generator> on_device(const Context& context) const override {
    return std::make_unique<ScoringGenerator>(context, options_.gives_up);
  }

  std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& prompt) const override {
    return {{"length", std::to_string(prompt.length) + " tokens"}, {"scores", describe_scores(options_)}};
  }

 private:
  std::unique_ptr<BatchUnderWay> begin_batch(const std::vector<SampleTask>& tasks, Observer* observer) {
    std::vector<ScoreText> texts;
    BatchView batch;
    for (const SampleTask& task : tasks) {
      texts.push_back(to_text(*task.prompt, task.stream));
      batch.samples.push_back({task.identity, task.prompt->length - task.prompt->generated, task.prompt->length});
      batch.tokens += task.prompt->generated;
    }
    if (observer != nullptr) {
      observer->on_batch(batch);
    }
    auto begun = std::make_unique<TextsUnderWay>(scorer_, begin_in_memory(scorer_, texts, context_.device, observer));
    if (observer != nullptr) {
      observer->on_batch_done();
    }
    return begun;
  }

  // The ids of a text that is given as such or in tokens.
  std::vector<int64_t> part(const std::string& text_key, const std::optional<std::string>& text,
                            const std::string& tokens_key, const std::optional<std::vector<int64_t>>& tokens,
                            const TextReading& reading) const {
    if (tokens) {
      check_ids(tokens_key, *tokens, *context_.vocabulary, context_.model->info());
      return *tokens;
    }
    return encode_text(text_key, text.value_or(""), *context_.vocabulary, reading);
  }

  // What stands before the scored text. Tokens stand for themselves; a text begins as a prompt does, of an
  // autoregressive model of pieces after the end of another where nothing else begins it.
  std::vector<int64_t> context_of(const Prompt& given, const TextReading& reading) const {
    const Vocabulary& vocabulary = *context_.vocabulary;
    const bool is_text = given.given ? true : !given.given_tokens && !given.tokens;
    std::vector<int64_t> ids = is_text ? vocabulary.template_prefix() : std::vector<int64_t>{};
    const std::vector<int64_t> own = part("given", given.given, "given", given.given_tokens, reading);
    ids.insert(ids.end(), own.begin(), own.end());
    if (ids.empty() && is_text && options_.method == ScoreMethod::exact && !vocabulary.characters() &&
        vocabulary.end_of_text()) {
      ids.push_back(*vocabulary.end_of_text());
    }
    return ids;
  }

  void check(const PreparedPrompt& prompt, bool empty) const {
    const ModelInfo& info = context_.model->info();
    if (empty) {
      fail(ExitCode::bad_input, "the text is empty: there is nothing to score. Leave it out.");
    }
    if (prompt.generated == 0) {
      fail(ExitCode::bad_input,
           "the text is a single token with nothing before it, which says nothing of how likely it is. Give what "
           "stands before it as `given`.");
    }
    if (options_.method == ScoreMethod::exact) {
      return;
    }
    if (info.block_size > 0 && prompt.length > info.block_size) {
      fail(ExitCode::bad_input,
           "the text has {} tokens, with what is given before it, but '{}' reads at most {} (its block size) and sees "
           "all of a text at once. Score it in parts.",
           prompt.length, context_.checkpoint, info.block_size);
    }
    const auto mask = std::find(prompt.tokens.begin(), prompt.tokens.end(), options_.mask_token_id);
    if (mask != prompt.tokens.end()) {
      fail(ExitCode::bad_input,
           "the text has the mask token (id {}) at position {}, counted from 0, with what is given before it: the "
           "likelihood is of texts without masks. Take it out.",
           options_.mask_token_id, mask - prompt.tokens.begin());
    }
  }

  const Context& context_;
  CheckedModel model_;
  ScoreOptions options_;
  Scorer scorer_;
};

}  // namespace

std::unique_ptr<Generator> make_scoring_generator(const Context& context, const std::function<bool()>& gives_up) {
  return std::make_unique<ScoringGenerator>(context, gives_up);
}

std::vector<int64_t> scored_tokens(const PreparedPrompt& prompt) {
  return {prompt.tokens.end() - static_cast<std::ptrdiff_t>(prompt.generated), prompt.tokens.end()};
}

}  // namespace demask
