// The engine as a part of the executable, for sanitizers, which want to be there before any code that they check.
#include "app/engine_entry.h"
#include "app/start_engine.h"

void demask::settle_environment() {}

int demask::start_engine(const CommandLine& command, ModelAhead* ahead) {
  return demask_engine(&command, ahead);
}
