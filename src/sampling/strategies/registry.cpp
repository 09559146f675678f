// The list of strategies. A new one is a file beside this, which defines `Strategy NAME_strategy()` and the function
// NAME_policy, and a line here. These files and this one are compiled twice: once to the descriptions, which need no
// LibTorch, and once, with DEMASK_POLICIES, to the policies.
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

#ifndef DEMASK_POLICIES
#include "sampling/strategies/strategy.h"

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

#else
#include <stdexcept>
#include <string>
#include <string_view>

#include "sampling/strategies/policies.h"
#include "sampling/strategies/strategy.h"

namespace demask {

#define DEMASK_DECLARE(name) std::unique_ptr<RevealPolicy> name##_policy(const DiffusionSettings&, CheckedModel*);
DEMASK_STRATEGIES(DEMASK_DECLARE)
#undef DEMASK_DECLARE

std::unique_ptr<RevealPolicy> make_policy(const DiffusionSettings& settings, CheckedModel* remasking_model) {
  const std::string_view wanted = settings.strategy->name;
#define DEMASK_MAKE(name)                            \
  if (wanted == #name) {                             \
    return name##_policy(settings, remasking_model); \
  }
  DEMASK_STRATEGIES(DEMASK_MAKE)
#undef DEMASK_MAKE
  throw std::logic_error("no policy for strategy " + std::string(wanted));
}

}  // namespace demask
#endif
