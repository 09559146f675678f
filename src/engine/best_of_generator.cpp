#include "engine/best_of_generator.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "core/notice.h"
#include "engine/scoring.h"
#include "model/device.h"

namespace demask {
namespace {

class BestOfGenerator : public Generator {
 public:
  BestOfGenerator(const Context& context, std::unique_ptr<Generator> generator, const std::function<bool()>& gives_up)
      : context_(context),
        candidates_(context.config.best_of),
        generator_(std::move(generator)),
        model_(*context.model, context.checkpoint),
        options_(score_options(context, gives_up)),
        scorer_(model_, options_) {}

  std::shared_ptr<const PreparedPrompt> prepare(const Prompt& given, bool quiet) override {
    auto prompt = std::make_shared<PreparedPrompt>(*generator_->prepare(given, quiet));
    prompt->rows *= candidates_;
    return prompt;
  }

  // A sample's candidates have the lengths of its first, for likelihoods of texts that differ in length say nothing
  // about which is better.
  void settle(std::vector<SampleTask>& tasks) override {
    std::vector<SampleTask> first = tasks;
    for (SampleTask& task : first) {
      task.stream.index *= candidates_;
    }
    generator_->settle(first);
    for (size_t k = 0; k < tasks.size(); ++k) {
      if (first[k].prompt != tasks[k].prompt) {
        auto own = std::make_shared<PreparedPrompt>(*first[k].prompt);
        own->rows = tasks[k].prompt->rows;
        tasks[k].prompt = std::move(own);
      }
    }
  }

  std::vector<DrawnSample> draw(const std::vector<SampleTask>& tasks, Observer* observer) override {
    std::vector<SampleTask> candidates;
    for (const SampleTask& task : tasks) {
      for (int64_t k = 0; k < candidates_; ++k) {
        candidates.push_back(task);
        candidates.back().stream.index = task.stream.index * candidates_ + k;
      }
    }
    std::vector<DrawnSample> drawn = draw_in_memory(candidates, observer);
    const std::vector<TextScore> scores = score(tasks, drawn);
    std::vector<DrawnSample> best;
    for (size_t first = 0; first < drawn.size(); first += static_cast<size_t>(candidates_)) {
      size_t likeliest = first;
      for (size_t k = first + 1; k < first + static_cast<size_t>(candidates_); ++k) {
        likeliest = scores[k].log_likelihood > scores[likeliest].log_likelihood ? k : likeliest;
      }
      best.push_back(std::move(drawn[likeliest]));
      best.back().index = tasks[best.size() - 1].stream.index;
      best.back().score = scores[likeliest];
    }
    return best;
  }

  void try_step(const std::vector<SampleTask>& tasks) override { generator_->try_step(tasks); }

  int64_t forwards() const override { return generator_->forwards() + scorer_.forwards(); }
  double computed_share() const override { return generator_->computed_share(); }

  std::unique_ptr<Generator> on_device(const Context& context) const override {
    return std::make_unique<BestOfGenerator>(context, generator_->on_device(context), options_.gives_up);
  }

  std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& prompt) const override {
    auto lines = generator_->describe(prompt);
    lines.emplace_back("best of", fmt::format("{}, by score: {}", candidates_, describe_scores(options_)));
    return lines;
  }

 private:
  // In two halves where memory runs out: a sample's candidates need not be drawn together.
  std::vector<DrawnSample> draw_in_memory(const std::vector<SampleTask>& tasks, Observer* observer) {
    try {
      return generator_->draw(tasks, observer);
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error) || tasks.size() == 1) {
        throw;
      }
    }
    release_cached_memory(context_.device);
    notice("out of memory on {} with {} candidates at once; going on with {}.", context_.device.str(), tasks.size(),
           tasks.size() / 2);
    const auto middle = tasks.begin() + static_cast<std::ptrdiff_t>(tasks.size() / 2);
    std::vector<DrawnSample> drawn = draw_in_memory({tasks.begin(), middle}, observer);
    for (DrawnSample& sample : draw_in_memory({middle, tasks.end()}, observer)) {
      drawn.push_back(std::move(sample));
    }
    return drawn;
  }

  // A sample's candidates are masked alike, so that what sets their scores apart is the texts.
  std::vector<TextScore> score(const std::vector<SampleTask>& tasks, const std::vector<DrawnSample>& drawn) {
    std::vector<ScoreText> texts;
    for (size_t k = 0; k < drawn.size(); ++k) {
      const SampleTask& task = tasks[k / static_cast<size_t>(candidates_)];
      std::vector<bool> scored = task.prompt->given();
      scored.flip();
      texts.push_back({task.stream, drawn[k].tokens, std::move(scored)});
    }
    return scorer_.finish(*begin_in_memory(scorer_, texts, context_.device, nullptr));
  }

  const Context& context_;
  int64_t candidates_;
  std::unique_ptr<Generator> generator_;
  CheckedModel model_;
  ScoreOptions options_;
  Scorer scorer_;
};

}  // namespace

std::unique_ptr<Generator> make_best_of_generator(const Context& context, std::unique_ptr<Generator> generator,
                                                  const std::function<bool()>& gives_up) {
  return std::make_unique<BestOfGenerator>(context, std::move(generator), gives_up);
}

}  // namespace demask
