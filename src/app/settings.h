// The settings that make samples, as they stand in the first of their JSON lines.
#pragma once

#include <nlohmann/json.hpp>

#include "config/config.h"

namespace demask {

// Every key that can change the text. Left out: how a run is cut up, shown and stored.
nlohmann::ordered_json settings_json(const Config& config);

}  // namespace demask
