#include "bench/quality/oracle.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "bench/table.h"
#include "config/command_line.h"
#include "core/notice.h"
#include "engine/diffusion_generator.h"
#include "engine/prompt_tokens.h"
#include "sampling/strategies/strategy.h"
#include "text/character_vocabulary.h"

namespace demask::quality {
namespace {

constexpr int64_t table_length = 6;
constexpr int64_t table_texts = 50000;
constexpr int64_t most_at_a_time = 4096;  // plans of single samples fill a table of steps for each

ParsedConfig parse(std::vector<std::string> arguments, int64_t length) {
  arguments.insert(arguments.begin(), {"--sampling_method=diffusion", fmt::format("--sequence_length={}", length)});
  ParsedConfig parsed = parse_command_line(arguments).parsed;
  if (!parsed.is_given("temperature") &&
      parsed.config.diffusion.temperature == DiffusionSettings{}.temperature) {  // the strategy brings none
    arguments.insert(arguments.begin(), "--temperature=1");
    parsed = parse_command_line(arguments).parsed;
  }
  return parsed;
}

// Strategies that only reveal take a step for each position at most.
int64_t most_steps(const ParsedConfig& parsed) {
  const Pacing pacing = parsed.config.diffusion.strategy->pacing;
  return pacing == Pacing::reveals || pacing == Pacing::decides ? table_length : std::numeric_limits<int64_t>::max();
}

Context context_of(const HiddenMarkovChain& chain, const ParsedConfig& parsed) {
  Context context;
  context.config = parsed.config;
  context.given = parsed.given;
  context.checkpoint = "the hidden Markov chain";
  context.model = std::make_unique<HiddenMarkovModel>(chain);
  context.mask_token_id = chain.symbols();
  std::vector<std::optional<std::string>> symbols;
  for (int64_t id = 0; id < chain.symbols(); ++id) {
    symbols.emplace_back(std::string(1, static_cast<char>('a' + id)));
    context.allowed.push_back(id);
  }
  context.vocabulary = std::make_unique<CharacterVocabulary>(std::move(symbols));
  return context;
}

bool needs_remasking_model(const Strategy& strategy) {
  const std::string flag = "--remasking_checkpoint_name";
  return std::any_of(strategy.arguments.begin(), strategy.arguments.end(),
                     [&](const std::string& argument) { return argument.compare(0, flag.size(), flag) == 0; });
}

// A row to draw.
struct OracleRun {
  std::string label;
  int64_t budget = 0;
  std::optional<double> temperature;  // where it is not Oracle::draw's
  std::vector<std::string> arguments;
};

std::vector<OracleRun> runs_of(const std::vector<Strategy>& strategies, const OracleTask& task) {
  std::vector<std::optional<double>> temperatures(task.temperatures.begin(), task.temperatures.end());
  if (temperatures.empty()) {
    temperatures.emplace_back();
  }
  std::vector<OracleRun> runs;
  for (const Strategy& strategy : strategies) {
    for (const std::optional<double>& temperature : temperatures) {
      for (const int64_t budget : task.budgets) {
        if (needs_remasking_model(strategy)) {
          continue;
        }
        OracleRun& run =
            runs.emplace_back(OracleRun{strategy.label, budget, temperature, arguments_for(strategy, budget)});
        if (temperature) {
          run.arguments.insert(run.arguments.begin(), fmt::format("--temperature={}", *temperature));
        }
      }
    }
  }
  return runs;
}

Oracle::Draw draw_with_seeds(const Oracle& oracle, const std::vector<std::string>& arguments,
                             const std::vector<int64_t>& seeds) {
  Oracle::Draw all{at::zeros_like(oracle.probabilities()), 0};
  for (const int64_t seed : seeds) {
    const int64_t texts = table_texts / static_cast<int64_t>(seeds.size());
    const Oracle::Draw one = oracle.draw(arguments, texts, static_cast<uint64_t>(seed));
    all.counts += one.counts;
    all.forwards += one.forwards / static_cast<double>(seeds.size());
  }
  return all;
}

}  // namespace

double total_variation(const at::Tensor& counts, const at::Tensor& probabilities) {
  return (counts / counts.sum() - probabilities).abs().sum().item<double>() / 2;
}

double expected_total_variation(const at::Tensor& probabilities, int64_t draws) {
  const at::Tensor flat = probabilities.to(at::kDouble).contiguous();
  const auto n = static_cast<double>(draws);
  double sum = 0;
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const double p = flat.data_ptr<double>()[i];
    if (p <= 0 || p >= 1) {
      continue;  // without deviation
    }
    const double above = std::floor(n * p) + 1;  // the first number of hits above the mean
    const double log_choose = std::lgamma(n + 1) - std::lgamma(above + 1) - std::lgamma(n - above + 1);
    sum += 2 * above * std::exp(log_choose + above * std::log(p) + (n - above + 1) * std::log1p(-p)) / n;
  }
  return sum / 2;
}

Oracle::Oracle(const HiddenMarkovChain& chain, int64_t length)
    : chain_(chain), length_(length), probabilities_(HiddenMarkovModel(chain).probabilities(length)) {}

Oracle::Draw Oracle::draw(const std::vector<std::string>& arguments, int64_t texts, uint64_t seed) const {
  const Context context = context_of(chain_, parse(arguments, length_));
  const std::unique_ptr<Generator> generator = make_diffusion_generator(context, {});
  const std::shared_ptr<const PreparedPrompt> prompt = generator->prepare(own_prompt(context.config), /*quiet=*/true);
  Draw draw{at::zeros_like(probabilities_), 0};
  double* counts = draw.counts.data_ptr<double>();
  for (int64_t first = 0; first < texts; first += most_at_a_time) {
    const int64_t size = std::min(most_at_a_time, texts - first), before = generator->forwards();
    for (const DrawnSample& sample : generator->draw(consecutive({seed, first}, size, prompt), nullptr)) {
      int64_t number = 0;
      for (const int64_t symbol : sample.tokens) {
        number = number * chain_.symbols() + symbol;
      }
      counts[number] += 1;
    }
    draw.forwards += static_cast<double>((generator->forwards() - before) * size) / static_cast<double>(texts);
  }
  return draw;
}

nlohmann::ordered_json compare_with_oracle(const std::vector<Strategy>& strategies, const OracleTask& task,
                                           std::FILE* file) {
  const Oracle oracle(example_chain(), table_length);
  bench::Table table(
      file, {{"strategy", 16}, {"T", 4}, {"asked", 5}, {"forwards", 8}, {"distance", 8}, {"above chance", 12}});
  const auto seeds = static_cast<int64_t>(task.seeds.size()), texts = table_texts / seeds * seeds;
  const double chance = expected_total_variation(oracle.probabilities(), texts);
  table.row({"chance alone", "-", "-", "-", bench::show(chance, 4), bench::show(0, 4)});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  rows.push_back({{"strategy", "chance alone"}, {"texts", texts}, {"total_variation", chance}});
  for (const OracleRun& run : runs_of(strategies, task)) {
    nlohmann::ordered_json json = {
        {"strategy", run.label}, {"forwards_asked", run.budget}, {"arguments", run.arguments}};
    try {
      if (run.budget > most_steps(parse(run.arguments, table_length))) {
        continue;
      }
      const Oracle::Draw draw = draw_with_seeds(oracle, run.arguments, task.seeds);
      const double distance = total_variation(draw.counts, oracle.probabilities());
      table.row({run.label, run.temperature ? fmt::format("{:g}", *run.temperature) : "-",
                 fmt::format("{}", run.budget), bench::show(draw.forwards, 1), bench::show(distance, 4),
                 bench::show(distance - chance, 4)});
      json["forwards"] = draw.forwards;
      json["total_variation"] = distance;
    } catch (const std::exception& error) {
      diagnostic(fmt::format("{} at {} forwards failed: {}\n", run.label, run.budget, error.what()));
      json["failed"] = error.what();
    }
    rows.push_back(json);
  }
  return rows;
}

}  // namespace demask::quality
