#include "bench/quality/evaluate.h"

#include <fmt/format.h>

#include <cmath>
#include <exception>

#include "bench/loaded.h"
#include "bench/table.h"
#include "bench/timing.h"
#include "core/notice.h"
#include "engine/sample_text.h"
#include "model/device.h"

namespace demask::quality {
namespace {

// What one strategy wrote at one budget.
struct Draw {
  std::vector<std::string> texts;
  double forwards = 0;  // spent on each sample, on average: a strategy that adapts may spend more on one batch
  double seconds = 0;   // of drawing all samples, warm on CUDA, without loading
};

struct Row {
  std::string label;
  std::optional<int64_t> asked;  // forwards; these three are empty for texts that nobody drew
  std::optional<double> forwards;
  std::optional<double> seconds;
  Quality quality;
};

std::vector<std::string> demask_arguments(const Strategy& strategy, int64_t budget, const Task& task) {
  std::vector<std::string> all = {"--sampling_method=diffusion",
                                  "--checkpoint_name=" + task.checkpoint_name,
                                  "--show_progress=False",
                                  fmt::format("--num_samples={}", task.samples),
                                  fmt::format("--sequence_length={}", task.length),
                                  fmt::format("--seed={}", task.seed)};
  if (task.batch_size) {
    all.push_back(fmt::format("--batch_size={}", *task.batch_size));
  }
  const std::vector<std::string> passed = bench::passed_through(task.options), own = arguments_for(strategy, budget);
  all.insert(all.end(), passed.begin(), passed.end());
  all.insert(all.end(), own.begin(), own.end());  // last, so that a strategy may override anything
  return all;
}

Draw draw_texts(const bench::Loaded& loaded) {
  const Context& context = loaded.context();
  Generator& generator = loaded.engine.generator();
  const Work work = loaded.engine.own_work();
  if (context.device.is_cuda()) {
    loaded.draw(0, choose_batch_size(context, generator, work, work.samples()));  // loads kernels and settles memory
  }
  Draw draw;
  int64_t forwards_before = generator.forwards();
  DrawHooks hooks;
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t /*frontier*/) {
    // One forward only tells how sure the model is of the finished text.
    const auto spent = static_cast<double>(generator.forwards() - forwards_before - 1);
    forwards_before = generator.forwards();
    draw.forwards += spent * static_cast<double>(tasks.size()) / static_cast<double>(work.samples());
    for (size_t i = 0; i < samples.size(); ++i) {
      draw.texts.push_back(sample_text(context, *tasks[i].prompt, samples[i].tokens));
    }
  };
  draw.seconds = loaded.engine.draw(work, work.first(), work.end(), work.samples(), hooks).elapsed_s;
  return draw;
}

std::vector<bench::Column> columns() {
  std::vector<bench::Column> columns = {{"strategy", 16}, {"asked", 5}, {"forwards", 8}, {"seconds", 8}};
  for (const Measure& measure : measures) {
    columns.push_back({measure.column, 16});
  }
  columns.push_back({"repeating", 9});
  return columns;
}

std::string show(const Estimate& estimate) {
  if (std::isnan(estimate.value)) {
    return "-";
  }
  const std::string value = bench::show(estimate.value, 4);
  return std::isnan(estimate.standard_error) ? value : value + " +-" + bench::show(estimate.standard_error, 4);
}

std::vector<std::string> cells(const Row& row) {
  std::vector<std::string> cells = {row.label, row.asked ? fmt::format("{}", *row.asked) : "-",
                                    bench::show(row.forwards, 1), bench::show_seconds(row.seconds)};
  for (const Measure& measure : measures) {
    cells.push_back(show(row.quality.*measure.estimate));
  }
  cells.push_back(fmt::format("{}", row.quality.repeating));
  return cells;
}

Row make_row(const Strategy& strategy, int64_t budget, const std::vector<std::string>& arguments,
             const Yardsticks& yardsticks) {
  const bench::Loaded loaded(arguments);
  const Draw draw = draw_texts(loaded);
  return {strategy.label, budget, draw.forwards, draw.seconds, measure_texts(draw.texts, yardsticks)};
}

}  // namespace

Quality measure_texts(const std::vector<std::string>& texts, const Yardsticks& yardsticks) {
  return measure_quality(texts, yardsticks.judge.read(texts), yardsticks.words);
}

nlohmann::ordered_json quality_json(const Quality& quality) {
  nlohmann::ordered_json json;
  for (const Measure& measure : measures) {
    const Estimate& estimate = quality.*measure.estimate;
    json[measure.key] = {{"value", estimate.value}, {"se", estimate.standard_error}};
  }
  json["repeating_texts"] = quality.repeating;
  return json;
}

Results compare_strategies(const std::vector<Strategy>& strategies, const Task& task, const Yardsticks& yardsticks,
                           const Quality& held_out, std::FILE* file) {
  Results results{nlohmann::ordered_json::array(), {}};
  bench::Table table(file, columns());
  table.row(cells({"held-out text", {}, {}, {}, held_out}));
  for (const Strategy& strategy : strategies) {
    FrontierLine line{strategy.label, {}};
    for (const int64_t budget : task.budgets) {
      const std::vector<std::string> arguments = demask_arguments(strategy, budget, task);
      nlohmann::ordered_json json = {
          {"strategy", strategy.label}, {"forwards_asked", budget}, {"arguments", arguments}};
      try {
        const Row row = make_row(strategy, budget, arguments, yardsticks);
        table.row(cells(row));
        json["forwards"] = *row.forwards;
        json["seconds"] = *row.seconds;
        json.update(quality_json(row.quality));
        line.points.push_back({*row.forwards, row.quality});
      } catch (const std::exception& error) {
        diagnostic(fmt::format("{} at {} forwards failed: {}\n", strategy.label, budget, error.what()));
        json["failed"] = error.what();
      }
      results.rows.push_back(json);
      release_cached_memory(task.options.device);
    }
    results.lines.push_back(line);
  }
  return results;
}

}  // namespace demask::quality
