// Measures strategies: a table and JSON of what each wrote, beside held-out text and autoregression.
#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/quality/distances.h"
#include "bench/quality/drawing.h"
#include "bench/quality/judge.h"
#include "bench/quality/metrics.h"
#include "bench/quality/rows_json.h"
#include "bench/quality/strategies.h"

namespace demask::quality {

// What texts are measured with.
struct Yardsticks {
  Judge& judge;
  const WordSet& words;
  const Reference& reference;
};

// `seeds`: how many parts of equal length the texts are, one after the other, each drawn with a seed of its own.
Measured measure_texts(const std::vector<std::string>& texts, size_t seeds, const Yardsticks& yardsticks);

// Of autoregression unless a row says another one.
inline constexpr double autoregressive_temperature = 0.8;

// Runs autoregression, where a model for it is named, and every strategy at every budget and temperature, and prints a
// table that begins with `held_out`. Returns the rows in JSON. A row that fails is reported on stderr and there, and
// the others run.
nlohmann::ordered_json compare_strategies(const std::vector<Strategy>& strategies,
                                          const std::optional<std::string>& autoregressive, const Task& task,
                                          const Yardsticks& yardsticks, const Measured& held_out, std::FILE* file);

}  // namespace demask::quality
