// What some settings imply for others, and which contradict each other.
#pragma once

#include "config/config.h"

namespace demask {

// Once everything is read: sets what some keys imply for others; throws Error(bad_usage) where keys contradict each
// other, or the method or strategy does not take one that is given.
void settle(ParsedConfig& parsed);

}  // namespace demask
