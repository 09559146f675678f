#include "bench/quality/drawing.h"

#include <fmt/format.h>

#include <utility>

#include "bench/loaded.h"
#include "engine/prompt_tokens.h"
#include "engine/sample_text.h"

namespace demask::quality {
namespace {

std::vector<std::string> shared_arguments(const std::string& checkpoint_name, std::optional<double> temperature,
                                          const Task& task) {
  std::vector<std::string> all = {"--checkpoint_name=" + checkpoint_name, "--show_progress=False",
                                  fmt::format("--num_samples={}", task.samples)};
  if (task.batch_size) {
    all.push_back(fmt::format("--batch_size={}", *task.batch_size));
  }
  if (temperature) {
    all.push_back(fmt::format("--temperature={}", *temperature));
  }
  const std::vector<std::string> passed = bench::passed_through(task.options);
  all.insert(all.end(), passed.begin(), passed.end());
  return all;
}

// The command line's prompt once for each seed.
Work work_of_seeds(const Engine& engine, const std::vector<int64_t>& seeds) {
  PromptList list;
  for (const int64_t seed : seeds) {
    list.prompts.push_back(own_prompt(engine.context().config));
    list.prompts.back().seed = seed;
  }
  return engine.work_of(std::move(list));
}

}  // namespace

Run strategy_run(const Strategy& strategy, int64_t budget, std::optional<double> temperature, const Task& task) {
  Run run{strategy.label, budget, temperature, shared_arguments(task.checkpoint_name, temperature, task)};
  run.arguments.insert(run.arguments.end(),
                       {"--sampling_method=diffusion", fmt::format("--sequence_length={}", task.length)});
  const std::vector<std::string> own = arguments_for(strategy, budget);
  run.arguments.insert(run.arguments.end(), own.begin(), own.end());  // last, so that a strategy may override anything
  return run;
}

Run autoregressive_run(const std::string& checkpoint_name, double temperature, const Task& task) {
  Run run{"autoregressive", {}, temperature, shared_arguments(checkpoint_name, temperature, task)};
  // The first token is not drawn from the model.
  run.arguments.insert(run.arguments.end(),
                       {"--sampling_method=standard", fmt::format("--max_new_tokens={}", task.length - 1)});
  return run;
}

Draw draw_texts(const Run& run, const std::vector<int64_t>& seeds) {
  const bench::Loaded loaded(run.arguments);
  const Context& context = loaded.context();
  Generator& generator = loaded.engine.generator();
  const Work work = work_of_seeds(loaded.engine, seeds);
  if (context.device.is_cuda()) {
    loaded.draw(0, choose_batch_size(context, generator, work, work.samples()));  // loads kernels and settles memory
  }
  Draw draw;
  int64_t forwards_before = generator.forwards();
  DrawHooks hooks;
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t /*frontier*/) {
    // A batch of candidates is that many batches of samples.
    const auto spent = static_cast<double>((generator.forwards() - forwards_before) * context.config.best_of);
    forwards_before = generator.forwards();
    draw.forwards += spent * static_cast<double>(tasks.size()) / static_cast<double>(work.samples());
    for (size_t i = 0; i < samples.size(); ++i) {
      draw.texts.push_back(sample_text(context, *tasks[i].prompt, samples[i].tokens));
    }
  };
  draw.seconds = loaded.engine.draw(work, work.first(), work.end(), work.samples(), hooks).elapsed_s;
  return draw;
}

}  // namespace demask::quality
