// What a diffusion run costs as it gets longer: in iterations, in samples and in tokens.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/options.h"

namespace demask::bench {

// Prints a table of seconds, each beside the one before, and returns it.
nlohmann::ordered_json run_scaling(const std::string& checkpoint, const Options& options, std::FILE* file);

}  // namespace demask::bench
