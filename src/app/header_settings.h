// The settings that make samples, as they stand in the first of their JSON lines.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "config/config.h"

namespace demask {

// Every key that can change the text. Left out: how a run is cut up, shown and stored.
nlohmann::ordered_json settings_json(const Config& config);

// Members of a run's header that say where something lies rather than what it is, so that they may differ between runs
// that make the same samples.
const std::set<std::string>& places_in_header();

}  // namespace demask
