// What a strategy plans for a text: how many steps, how the masked share falls, and which steps a second forward
// judges.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sampling/diffusion_sampler.h"
#include "sampling/reveal_policy.h"
#include "sampling/strategies/strategy.h"

namespace demask {

// Sets plan, blocks, temperatures, guidance and what judges of `options`. The plan keeps what it has worked out, may be
// asked from several threads, has its own copy of the settings, and throws Error(bad_usage) where iterations or
// forwards do not fit so many positions or the strategy.
void plan_strategy(const DiffusionSettings& settings, const RevealPolicy& policy, DiffusionOptions& options);

// The iterations that the settings ask for.
int64_t iterations_of(const DiffusionSettings& settings);

// How many calls of the model for its tokens those come to, those that judge tokens included.
int64_t forwards_of_iterations(const DiffusionSettings& settings);

// Steps that a text with so many free positions may take, where the plan is drawn for each sample.
int64_t planned_steps(const DiffusionSettings& settings, int64_t free);

// How many steps, and how the masked share falls, in words.
std::string describe_schedule(const DiffusionSettings& settings, int64_t steps);

// What to tell the user: settings that are given and have no use, or do what one may not expect. A sentence each.
std::vector<std::string> notices_about(const DiffusionSettings& settings, const Given& given);

}  // namespace demask
