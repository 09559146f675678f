// What the engine does for the program: composes every part, and is the only place that knows Config and all the rest.
#pragma once

#include "config/command_line.h"

namespace demask {

// Draws, scores or exports, as the command line says. Samples go to stdout, everything else to stderr. Throws Error;
// returns when the work is done.
void run(CommandLine& command);

}  // namespace demask
