// Where the front hands over to the engine, which is all of demask that stands on LibTorch.
#pragma once

#include "config/command_line.h"
#include "engine/model_ahead.h"

namespace demask {

// Puts into the environment what the engine's libraries read there when they are loaded: how OpenMP's threads wait, see
// kernels/openmp_waiting.h. Nothing where they are loaded already. Before other threads start, which may read it.
void settle_environment();

// Does what the command line asks for and gives the exit code; errors of the work itself have been told on stderr.
// `ahead`, where it is not null, goes on reading meanwhile.
// Throws Error(failed) where the engine or LibTorch cannot be loaded. In one file that loads the engine out of the
// executable and one that is linked to it, chosen by CMake.
int start_engine(const CommandLine& command, ModelAhead* ahead = nullptr);

}  // namespace demask
