// The machine that a measurement ran on: how its cores are used, and what to report of it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/options.h"

namespace demask::bench {

// As demask does when it starts.
void use_all_cores();

// Version, date, hardware, LibTorch, and the device and dtype that the options stand for; call after resolve.
nlohmann::ordered_json describe_environment(const Options& options);

// The same in a line for people.
std::string environment_line(const Options& options);

}  // namespace demask::bench
