// The files that a run writes, held against those that it reads.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace demask {

// Throws Error(bad_usage) where writing output, trace or report would overwrite one of the files `read`, or another of
// the three, under whatever name: a link to a file is the file.
void check_overwrites_nothing(const Config& config, const std::vector<std::string>& read);

}  // namespace demask
