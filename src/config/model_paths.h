// Where the models that a configuration names lie.
#pragma once

#include <string>

#include "config/config.h"

namespace demask {

std::string checkpoint_path(const Config& config);

// Only where the configuration names such a model.
std::string remasking_checkpoint_path(const Config& config);

}  // namespace demask
