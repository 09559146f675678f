// demask_quality: how good the texts are that strategies write, against the forwards they spend.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/environment.h"
#include "bench/program.h"
#include "bench/quality/distances.h"
#include "bench/quality/evaluate.h"
#include "bench/quality/frontier_svg.h"
#include "bench/quality/judge.h"
#include "bench/quality/metrics.h"
#include "bench/quality/oracle.h"
#include "bench/quality/rows_json.h"
#include "bench/quality/strategies.h"
#include "core/error.h"
#include "core/json.h"
#include "core/overwriting.h"
#include "kernels/threads.h"

namespace demask::quality {
namespace {

constexpr int64_t fewest_tokens = 4;  // that have a 4-gram
constexpr int64_t most = 1'000'000;

struct Request {
  Task task;
  bool oracle = false;
  std::vector<std::string> strategies;  // as the user wrote them; none: all built-in ones
  std::vector<int64_t> budgets;         // none: the task's
  std::string judge = "standard.pt";
  std::string autoregressive;  // empty: the judge; "none"
  std::string reference_words = DEMASK_QUALITY_DATA "/words.txt";
  std::string held_out = DEMASK_QUALITY_DATA "/held_out.txt";
  std::string json;  // paths, or empty for none
  std::string svg;
  std::string results;  // of an earlier run, to be drawn in place of measuring
};

// Flags for what is drawn; with --oracle too.
void add_drawing_flags(CLI::App& app, Request& request) {
  Task& task = request.task;
  app.add_option("--strategy", request.strategies,
                 "a built-in strategy's label, or \"LABEL: --key=value ...\" with arguments of demask, where {N} and "
                 "{N/2} stand for the forwards if they are not to be added as --forwards=N; repeatable; otherwise "
                 "all built-in ones")
      ->allow_extra_args(false);
  app.add_option("--budgets", request.budgets,
                 fmt::format("forwards for each strategy, separated by commas; otherwise {}, with --oracle {}",
                             fmt::join(task.budgets, ","), fmt::join(OracleTask{}.budgets, ",")))
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, most));
  app.add_option("--temperatures", task.temperatures,
                 "every row at each of these, separated by commas; otherwise at the strategy's own")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--seeds,--seed", task.seeds, "one or more, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{0}, INT64_MAX))
      ->capture_default_str();
  add_common_flags(app, task.options);
  app.add_option("--json", request.json, "write everything to this file");
}

// Flags for models and texts that a chain of known conditionals does without.
std::vector<CLI::Option*> add_model_flags(CLI::App& app, Request& request) {
  Task& task = request.task;
  return {app.add_option("--samples", task.samples, "texts of each seed in a row")
              ->check(CLI::Range(int64_t{1}, most))
              ->capture_default_str(),
          app.add_option("--length", task.length, "tokens of a text")
              ->check(CLI::Range(fewest_tokens, most))
              ->capture_default_str(),
          app.add_option("--batch_size", task.batch_size, "as demask's")->check(CLI::Range(int64_t{1}, most)),
          app.add_option("--checkpoint_name", task.checkpoint_name, "the model that writes")->capture_default_str(),
          app.add_option("--judge", request.judge, "the left-to-right model that judges")->capture_default_str(),
          app.add_option(
              "--autoregressive", request.autoregressive,
              "the left-to-right model whose texts are a row of the table; otherwise the judge; none for no row"),
          app.add_option("--reference-words", request.reference_words,
                         "a list of words, or a text, whose words count as such")
              ->capture_default_str(),
          app.add_option("--held-out", request.held_out, "text that the models have not seen")->capture_default_str()};
}

void add_flags(CLI::App& app, Request& request) {
  add_drawing_flags(app, request);
  CLI::Option* oracle = app.add_flag(
      "--oracle", request.oracle,
      "measure instead how far each strategy's distribution lies from the model's, on a hidden Markov chain");
  for (CLI::Option* option : add_model_flags(app, request)) {
    oracle->excludes(option);
  }
  CLI::Option* svg = app.add_option("--svg", request.svg, "draw the measures against forwards into this file");
  oracle->excludes(svg);
  app.add_option("--draw-results", request.results, "measure nothing: draw the rows of this file, which --json wrote")
      ->needs(svg)
      ->excludes(oracle);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || text.empty()) {
    fail(ExitCode::bad_input, "'{}' is missing, empty or not readable. Name a text file.", path);
  }
  return text;
}

void check_results(const Request& request) {
  if (!request.json.empty() && request.json == request.svg) {
    fail(ExitCode::bad_usage, "--json and --svg both name '{}'. Name two files.", request.json);
  }
  const std::vector<std::string> read = {request.reference_words, request.held_out};
  for (const auto& [key, path] : {std::pair("--json", request.json), std::pair("--svg", request.svg)}) {
    if (!path.empty()) {
      check_overwrites_none(key, path, read);
    }
  }
}

std::optional<std::string> autoregressive_model(const Request& request) {
  if (request.autoregressive == "none") {
    return {};
  }
  return request.autoregressive.empty() ? request.judge : request.autoregressive;
}

nlohmann::ordered_json describe(const Request& request) {
  const Task& task = request.task;
  nlohmann::ordered_json json = bench::describe_environment(task.options);
  json["settings"] = {{"checkpoint_name", task.checkpoint_name},
                      {"judge", request.judge},
                      {"autoregressive", autoregressive_model(request).value_or("none")},
                      {"samples", task.samples},
                      {"length", task.length},
                      {"seeds", task.seeds},
                      {"budgets", task.budgets},
                      {"temperatures", task.temperatures},
                      {"batch_size", task.batch_size ? nlohmann::ordered_json(*task.batch_size) : nullptr},
                      {"reference_words", request.reference_words},
                      {"held_out", request.held_out}};
  return json;
}

nlohmann::ordered_json units_json(const Reference& reference) {
  nlohmann::ordered_json json;
  for (size_t i = 0; i < distance_terms.size(); ++i) {
    json[distance_terms[i]] = reference.units()[i];
  }
  return json;
}

// Of results as --json writes them.
std::string picture_of(const nlohmann::ordered_json& results) {
  const nlohmann::ordered_json& settings = results.at("settings");
  const auto texts = settings.at("samples").get<int64_t>() * static_cast<int64_t>(settings.at("seeds").size());
  const std::string title =
      fmt::format("Quality against forwards: {}, {} texts of {} tokens",
                  settings.at("checkpoint_name").get<std::string>(), texts, settings.at("length").get<int64_t>());
  return frontier_svg(title, lines_of(results.at("rows")), quality_of(results.at("held_out")));
}

void check_rows(const nlohmann::ordered_json& rows) {
  if (bench::any_failed(rows)) {
    fail(ExitCode::failed, "some rows failed; see above.");
  }
}

void measure_texts_of(Request& request, const std::vector<Strategy>& strategies) {
  Task& task = request.task;
  const WordSet words = collect_words(read_text(request.reference_words));
  const std::string held_out_text = read_text(request.held_out);
  bench::resolve(task.options);
  check_results(request);
  bench::ResultFile json_file(request.json), svg_file(request.svg);

  kernels::settle_threads();
  nlohmann::ordered_json json = describe(request);
  fmt::print("{}\n\n", bench::environment_line(task.options));

  Judge judge(request.judge, task.options);
  const HeldOutTexts held_out_texts = judge.held_out(held_out_text, task.length, task.texts());
  const Reference reference(held_out_texts.reference, judge.read(held_out_texts.reference), words);
  const Yardsticks yardsticks{judge, words, reference};
  const Measured held_out = measure_texts(held_out_texts.measured, 1, yardsticks);
  json["held_out"] = measured_json(held_out);
  json["distance_units"] = units_json(reference);
  json["rows"] = compare_strategies(strategies, autoregressive_model(request), task, yardsticks, held_out, stdout);

  json_file.write(dump_json(json, 2) + "\n");
  svg_file.write(picture_of(json));
  check_rows(json["rows"]);
}

void draw_results(const Request& request) {
  const std::string text = read_text(request.results);
  check_overwrites_none("--svg", request.svg, {request.results});
  std::string picture;
  try {
    picture = picture_of(nlohmann::ordered_json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    fail(ExitCode::bad_input, "'{}' is no file that --json of this program wrote: {}.", request.results, error.what());
  }
  bench::ResultFile(request.svg).write(picture);
}

void measure_with_oracle(Request& request, const std::vector<Strategy>& strategies) {
  OracleTask task;
  task.temperatures = request.task.temperatures;
  task.seeds = request.task.seeds;
  if (!request.budgets.empty()) {
    task.budgets = request.budgets;
  }
  bench::resolve(request.task.options);
  bench::ResultFile json_file(request.json);
  kernels::settle_threads();
  nlohmann::ordered_json json = bench::describe_environment(request.task.options);
  json["settings"] = {
      {"oracle", true}, {"seeds", task.seeds}, {"budgets", task.budgets}, {"temperatures", task.temperatures}};
  json["rows"] = compare_with_oracle(strategies, task, stdout);
  json_file.write(dump_json(json, 2) + "\n");
  check_rows(json["rows"]);
}

void measure(Request& request) {
  if (!request.results.empty()) {
    draw_results(request);
    return;
  }
  const std::vector<Strategy> strategies = select_strategies(request.strategies);
  if (request.oracle) {
    measure_with_oracle(request, strategies);
    return;
  }
  if (!request.budgets.empty()) {
    request.task.budgets = request.budgets;
  }
  measure_texts_of(request, strategies);
}

}  // namespace
}  // namespace demask::quality

int main(int argc, char** argv) {
  CLI::App app("Measures the texts that sampling strategies write, against the forwards they spend.", "demask_quality");
  demask::quality::Request request;
  demask::quality::add_flags(app, request);
  return demask::bench::run_program(app, argc, argv, [&] { demask::quality::measure(request); });
}
