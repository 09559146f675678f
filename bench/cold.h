// Whole processes as a user starts them, from nothing to their end.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/options.h"

namespace demask::bench {

// Times the program at `binary`, prints a table and returns it. Throws Error(failed) where it does not exit with 0.
nlohmann::ordered_json run_cold(const std::string& binary, const Options& options, std::FILE* file);

}  // namespace demask::bench
