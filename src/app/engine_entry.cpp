#include "app/engine_entry.h"

#include <c10/util/Exception.h>

#include "app/failure.h"
#include "app/run.h"
#include "sampling/strategies/strategy.h"

int demask_engine(const demask::CommandLine* command, demask::ModelAhead* ahead) noexcept {
  return demask::exit_code_of([command, ahead] {
    demask::CommandLine own = *command;
    // Of this copy's list of strategies, where the rest of the engine looks.
    demask::DiffusionSettings& settings = own.parsed.config.diffusion;
    settings.strategy = demask::find_strategy(settings.strategy->name);
    try {
      demask::run(own, ahead);
    } catch (const c10::Error& error) {
      demask::fail(demask::ExitCode::failed, "LibTorch failed: {}", error.what_without_backtrace());
    }
    return static_cast<int>(demask::ExitCode::done);
  });
}
