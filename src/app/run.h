// What the engine does for the program: composes every part, and is the only place that knows Config and all the rest.
#pragma once

#include "config/command_line.h"
#include "engine/model_ahead.h"

namespace demask {

// Draws, scores or exports, as the command line says. Samples go to stdout, everything else to stderr. Throws Error;
// returns when the work is done. `ahead`, which may be null, is what was read of the model meanwhile.
void run(CommandLine& command, ModelAhead* ahead);

}  // namespace demask
