// Reading files before they are needed.
#pragma once

#include "config/config.h"

namespace demask {

// Begins to bring the checkpoint's files into memory, in the background, while LibTorch is loaded. What cannot be read
// is left for whoever reads it to name.
void read_ahead(const Config& config);

}  // namespace demask
