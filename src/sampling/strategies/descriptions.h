// What the descriptions of several strategies have in common.
#pragma once

#include "sampling/strategies/strategy.h"

namespace demask {

// Those that rank the positions just drawn, reveal a scheduled number of them a step and never mask one again:
// confidence_source applies to them.
inline void reveal_by_rank(Strategy& strategy) {
  strategy.forwards = "N";
  strategy.pacing = Pacing::reveals;
  strategy.ranks_by_confidence = true;
}

// Those that decide in each step how many to reveal: confidence_source applies to them.
inline void reveal_as_needed(Strategy& strategy) {
  strategy.forwards = "as needed";
  strategy.pacing = Pacing::decides;
  strategy.ranks_by_confidence = true;
}

inline Parameter alg_temp_parameter() {
  return {"alg_temp", 0.0, Range{0.0}, "noise in ranking by certainty; 0: none"};
}

inline Parameter choice_temperature_parameter(double value) {
  return {"choice_temperature", value, Range{0.0}, "noise on log confidence, annealed to none"};
}

}  // namespace demask
