// Draws the texts of a row, through the same calls that demask's own run makes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/quality/strategies.h"

namespace demask::quality {

// What every row has in common.
struct Task {
  bench::Options options;
  std::string checkpoint_name = "diffusion.pt";
  std::vector<int64_t> budgets = {16, 32, 64, 128};  // forwards
  std::vector<double> temperatures;                  // none: each strategy's own
  int64_t samples = 256;                             // of each seed
  int64_t length = 256;                              // tokens of a sample
  std::vector<int64_t> seeds = {2026, 2027, 2028};
  std::optional<int64_t> batch_size;  // as demask's

  int64_t texts() const { return samples * static_cast<int64_t>(seeds.size()); }
};

// A row to draw.
struct Run {
  std::string label;
  std::optional<int64_t> asked;       // forwards; autoregression spends what it spends
  std::optional<double> temperature;  // where it is not the strategy's own
  std::vector<std::string> arguments;
};

// The strategy at a budget and a temperature, which comes before the strategy's own arguments: these may override it.
Run strategy_run(const Strategy& strategy, int64_t budget, std::optional<double> temperature, const Task& task);

// The left-to-right model `checkpoint_name`, a token after the other.
Run autoregressive_run(const std::string& checkpoint_name, double temperature, const Task& task);

// What a run wrote.
struct Draw {
  std::vector<std::string> texts;  // seed after seed, as many of each
  double forwards = 0;  // spent on each sample, on average: a strategy that adapts may spend more on one batch
  double seconds = 0;   // of drawing all samples, warm on CUDA, without loading
};

// Throws what demask throws where it refuses the arguments.
Draw draw_texts(const Run& run, const std::vector<int64_t>& seeds);

}  // namespace demask::quality
