// Where a strategy's description ends and its tensors begin.
#pragma once

#include <memory>

#include "sampling/diffusion_settings.h"
#include "sampling/reveal_policy.h"

namespace demask {

// The policy of the strategy that the settings name, which must be settled. `remasking_model` is null where there is
// none, and outlives the policy.
std::unique_ptr<RevealPolicy> make_policy(const DiffusionSettings& settings, CheckedModel* remasking_model);

}  // namespace demask
