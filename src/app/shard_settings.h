// What follows for the settings from being one process of several.
#pragma once

#include "app/shard.h"
#include "config/config.h"

namespace demask {

// Which part of the work this process does, as the settings or the launcher say. Settles the names of the files that
// it writes and its device. Throws Error(bad_usage) as parse_shard, and where the shards' files or seeds do not fit
// together.
Shard settle_shard(Config& config);

}  // namespace demask
