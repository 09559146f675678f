// The machine that a measurement ran on: what to report of it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/options.h"

namespace demask::bench {

// Version, date, hardware, LibTorch, and the device and dtype that the options stand for; call after resolve.
nlohmann::ordered_json describe_environment(const Options& options);

// The same in a line for people.
std::string environment_line(const Options& options);

}  // namespace demask::bench
