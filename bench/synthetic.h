// A model of GPT-2's size with random weights: what demask costs where the model is large.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/ceilings.h"
#include "bench/options.h"

namespace demask::bench {

// Prints seconds, rate of arithmetic and peak memory, and returns them.
nlohmann::ordered_json run_synthetic(const Options& options, const Ceilings& ceilings, std::FILE* file);

}  // namespace demask::bench
