// The settings that made a sample, as they stand beside it in JSON lines.
#pragma once

#include <nlohmann/json.hpp>

#include "demask/config/config.h"

namespace demask {

// Every key that can change the text. Left out: how a run is cut up, shown and stored, so that a sample's line does not
// depend on it.
nlohmann::ordered_json settings_json(const Config& config);

}  // namespace demask
