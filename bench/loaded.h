// demask made ready to draw, as its own run makes it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "app/method.h"
#include "app/session.h"

namespace demask::bench {

// A command line made ready to draw, and the seconds that took. Stays where it is, for the method refers to the
// session.
struct Loaded {
  ParsedConfig parsed;
  Session session;
  Method method;
  std::shared_ptr<const PreparedPrompt> prompt;  // the command line's own
  double seconds;

  // `count` samples, with indices from the `skipped`-th of the run on. Where the arguments name a trace the first is
  // traced, and nothing written.
  std::vector<Sample> draw(int64_t skipped, int64_t count) const;

  // Throws what demask throws where it refuses the arguments.
  explicit Loaded(const std::vector<std::string>& arguments);
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
};

}  // namespace demask::bench
