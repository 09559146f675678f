#include "bench/quality/evaluate.h"

#include <fmt/format.h>

#include <cmath>
#include <exception>

#include "bench/table.h"
#include "core/notice.h"
#include "model/device.h"

namespace demask::quality {
namespace {

struct Row {
  std::string label;
  std::optional<int64_t> asked;  // forwards; these four are empty for texts that nobody drew
  std::optional<double> temperature;
  std::optional<double> forwards;
  std::optional<double> seconds;
  Measured measured;
};

std::vector<bench::Column> columns() {
  std::vector<bench::Column> columns = {{"strategy", 16}, {"T", 4},       {"asked", 5},
                                        {"forwards", 8},  {"seconds", 8}, {"texts", 5}};
  for (const Measure& measure : measures) {
    columns.push_back({measure.column, 20});
  }
  for (const char* title : {"W judge", "JS 1", "JS 2", "run", "repeating"}) {
    columns.push_back({title, 6});
  }
  return columns;
}

std::string show_number(double number) {
  return std::isnan(number) ? "-" : bench::show(number, 3);
}

std::string show(const Estimate& estimate) {
  std::string text = show_number(estimate.value);
  if (!std::isnan(estimate.standard_error)) {
    text += " +-" + bench::show(estimate.standard_error, 3);
  }
  if (!std::isnan(estimate.seeds_error)) {
    text += "|" + bench::show(estimate.seeds_error, 3);
  }
  return text;
}

std::vector<std::string> cells(const Row& row) {
  const Quality& quality = row.measured.quality;
  const auto& terms = row.measured.distances.terms;
  std::vector<std::string> cells = {row.label,
                                    row.temperature ? fmt::format("{:g}", *row.temperature) : "-",
                                    row.asked ? fmt::format("{}", *row.asked) : "-",
                                    bench::show(row.forwards, 1),
                                    bench::show_seconds(row.seconds),
                                    fmt::format("{}", row.measured.texts)};
  for (const Measure& measure : measures) {
    cells.push_back(show(quality.*measure.estimate));
  }
  for (const size_t term : {size_t{0}, terms.size() - 2, terms.size() - 1}) {
    cells.push_back(show_number(terms[term].value));
  }
  cells.push_back(fmt::format("{}", quality.longest_run));
  cells.push_back(fmt::format("{}", quality.repeating));
  return cells;
}

// The texts of one seed, or of all.
Measured measure_part(const std::vector<std::string>& texts, const Readings& readings, const Yardsticks& yardsticks) {
  Measured measured;
  measured.texts = static_cast<int64_t>(texts.size());
  measured.quality = measure_quality(texts, readings, yardsticks.words, yardsticks.judge.least_distinct());
  measured.distances = yardsticks.reference.distances(texts, readings);
  measured.quality.distance = measured.distances.sum;
  return measured;
}

template <typename T>
std::vector<T> part_of(const std::vector<T>& all, size_t number, size_t parts) {
  const auto size = static_cast<std::ptrdiff_t>(all.size() / parts);
  const auto start = all.begin() + static_cast<std::ptrdiff_t>(number) * size;
  return {start, start + size};
}

std::vector<Run> runs_of(const Strategy& strategy, std::optional<double> temperature, const Task& task) {
  std::vector<Run> runs;
  for (const int64_t budget : task.budgets) {
    runs.push_back(strategy_run(strategy, budget, temperature, task));
  }
  return runs;
}

// Draws and measures rows, and says so.
class Comparison {
 public:
  Comparison(const Task& task, const Yardsticks& yardsticks, const Measured& held_out, std::FILE* file)
      : task_(task), yardsticks_(yardsticks), table_(file, columns()) {
    table_.row(cells({"held-out text", {}, {}, {}, {}, held_out}));
  }

  void compare(const std::vector<Run>& runs) {
    for (const Run& run : runs) {
      try {
        const Draw draw = draw_texts(run, task_.seeds);
        const Row row{run.label,     run.asked,    run.temperature,
                      draw.forwards, draw.seconds, measure_texts(draw.texts, task_.seeds.size(), yardsticks_)};
        table_.row(cells(row));
        add(run, row);
      } catch (const std::exception& error) {
        diagnostic(fmt::format("{}{} failed: {}\n", run.label,
                               run.asked ? fmt::format(" at {} forwards", *run.asked) : "", error.what()));
        start_json(run)["failed"] = error.what();
      }
      release_cached_memory(task_.options.device);
    }
  }

  nlohmann::ordered_json rows() const { return rows_; }

 private:
  nlohmann::ordered_json& start_json(const Run& run) {
    nlohmann::ordered_json& json = rows_.emplace_back();
    json["strategy"] = run.label;
    json["forwards_asked"] = run.asked ? nlohmann::ordered_json(*run.asked) : nullptr;
    json["temperature"] = run.temperature ? nlohmann::ordered_json(*run.temperature) : nullptr;
    json["arguments"] = run.arguments;
    return json;
  }

  void add(const Run& run, const Row& row) {
    nlohmann::ordered_json& json = start_json(run);
    json["forwards"] = *row.forwards;
    json["seconds"] = *row.seconds;
    json.update(measured_json(row.measured));
  }

  const Task& task_;
  const Yardsticks& yardsticks_;
  bench::Table table_;
  nlohmann::ordered_json rows_ = nlohmann::ordered_json::array();
};

}  // namespace

Measured measure_texts(const std::vector<std::string>& texts, size_t seeds, const Yardsticks& yardsticks) {
  const Readings readings = yardsticks.judge.read(texts);
  Measured measured = measure_part(texts, readings, yardsticks);
  if (seeds > 1) {
    std::vector<Quality> of_seeds;
    for (size_t number = 0; number < seeds; ++number) {
      const Readings part{part_of(readings.tokens, number, seeds), part_of(readings.nats, number, seeds)};
      of_seeds.push_back(measure_part(part_of(texts, number, seeds), part, yardsticks).quality);
    }
    estimate_seeds_errors(measured.quality, of_seeds);
  }
  return measured;
}

nlohmann::ordered_json compare_strategies(const std::vector<Strategy>& strategies,
                                          const std::optional<std::string>& autoregressive, const Task& task,
                                          const Yardsticks& yardsticks, const Measured& held_out, std::FILE* file) {
  Comparison comparison(task, yardsticks, held_out, file);
  const bool sweeps = !task.temperatures.empty();
  if (autoregressive) {
    for (const double temperature : sweeps ? task.temperatures : std::vector<double>{autoregressive_temperature}) {
      comparison.compare({autoregressive_run(*autoregressive, temperature, task)});
    }
  }
  for (const Strategy& strategy : strategies) {
    if (!sweeps) {
      comparison.compare(runs_of(strategy, {}, task));
    }
    for (const double temperature : task.temperatures) {
      comparison.compare(runs_of(strategy, temperature, task));
    }
  }
  return comparison.rows();
}

}  // namespace demask::quality
