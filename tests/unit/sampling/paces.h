// Paces that several tests plan by.
#pragma once

#include <cstdint>
#include <optional>

#include "sampling/plan.h"

namespace demask::testing {

// As much in each step as in any other.
inline Pace even_pace(int64_t steps, std::optional<int64_t> block_length = {}, bool reveals_only = true) {
  Pace pace;
  pace.steps = steps;
  pace.schedule = [](int64_t count) { return MaskSchedule::even(count); };
  pace.block_length = block_length;
  pace.reveals_only = reveals_only;
  return pace;
}

}  // namespace demask::testing
