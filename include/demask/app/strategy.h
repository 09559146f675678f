// The strategy that a configuration names, made ready: its policy, and what it plans for a text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "demask/config/config.h"
#include "demask/sampling/diffusion_sampler.h"
#include "demask/sampling/reveal_policy.h"

namespace demask {

// Without a remasking model pass null; it must outlive the policy.
std::unique_ptr<RevealPolicy> make_policy(const Config& config, WatchedModel* remasking_model);

// Sets plan, pacing, blocks, temperatures and guidance of `options` for texts with `free` positions to fill, and gives
// how many steps a text may take. Throws Error(bad_usage) where iterations or forwards do not fit the text or the
// strategy.
int64_t plan_strategy(const ParsedConfig& parsed, const RevealPolicy& policy, int64_t free, DiffusionOptions& options);

// Strategy, and what is masked again, in words.
std::string describe_strategy(const Config& config);

// How many steps, and how the masked share falls, in words.
std::string describe_schedule(const Config& config, const RevealPolicy& policy, int64_t steps);

}  // namespace demask
