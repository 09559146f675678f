// The list of strategies. A new one is a file beside this, which defines `Strategy NAME_strategy()`, and a line here.
#include "sampling/strategies/strategy.h"

// In the order in which users read them; the first is the default.
#define DEMASK_STRATEGIES(X) \
  X(remask)                  \
  X(confidence)              \
  X(random)                  \
  X(left_to_right)           \
  X(margin)                  \
  X(entropy)                 \
  X(ancestral)               \
  X(maskgit)                 \
  X(threshold)               \
  X(factor)                  \
  X(entropy_bound)           \
  X(klass)                   \
  X(remdm)                   \
  X(planner)                 \
  X(best)

namespace demask {

#define DEMASK_DECLARE(name) Strategy name##_strategy();
DEMASK_STRATEGIES(DEMASK_DECLARE)
#undef DEMASK_DECLARE

const std::vector<Strategy>& strategies() {
#define DEMASK_CALL(name) name##_strategy(),
  static const std::vector<Strategy> all = {DEMASK_STRATEGIES(DEMASK_CALL)};
#undef DEMASK_CALL
  return all;
}

}  // namespace demask
