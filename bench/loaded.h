// demask made ready to draw, as its own run makes it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace demask::bench {

// A command line made ready to draw, and the seconds that took.
struct Loaded {
  Engine engine;
  std::shared_ptr<const PreparedPrompt> prompt;  // the command line's own
  double seconds;

  // Throws what demask throws where it refuses the arguments.
  explicit Loaded(const std::vector<std::string>& arguments);

  const Context& context() const { return engine.context(); }

  // `count` samples, with indices from the `skipped`-th of the run on. Where the arguments name a trace the first is
  // traced, and nothing written.
  std::vector<DrawnSample> draw(int64_t skipped, int64_t count) const;

 private:
  Loaded(const std::vector<std::string>& arguments, double start_s);
};

}  // namespace demask::bench
