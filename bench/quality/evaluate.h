// Measures strategies, through the same calls that demask's own run makes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/quality/frontier_svg.h"
#include "bench/quality/judge.h"
#include "bench/quality/metrics.h"
#include "bench/quality/strategies.h"

namespace demask::quality {

// What every row has in common.
struct Task {
  bench::Options options;
  std::string checkpoint_name = "diffusion.pt";
  std::vector<int64_t> budgets = {16, 32, 64, 128};  // forwards
  int64_t samples = 256;
  int64_t length = 256;  // tokens of a sample
  int64_t seed = 1337;
  std::optional<int64_t> batch_size;  // as demask's
};

// What texts are measured with.
struct Yardsticks {
  Judge& judge;
  const WordSet& words;
};

Quality measure_texts(const std::vector<std::string>& texts, const Yardsticks& yardsticks);

struct Results {
  nlohmann::ordered_json rows;
  std::vector<FrontierLine> lines;  // one a strategy; without the rows that failed
};

// {"judge_nats": {"value": ..., "se": ...}, ..., "repeating_texts": n}; null where there is no number.
nlohmann::ordered_json quality_json(const Quality& quality);

// Runs every strategy at every budget and prints a table that begins with `held_out`. A row that fails is reported on
// stderr and in the results, and the others run.
Results compare_strategies(const std::vector<Strategy>& strategies, const Task& task, const Yardsticks& yardsticks,
                           const Quality& held_out, std::FILE* file);

}  // namespace demask::quality
