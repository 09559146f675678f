// The strategy that a configuration names, made ready: its policy, and what it plans for a text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/reveal_policy.h"

namespace demask {

// Without a remasking model pass null; it must outlive the policy.
std::unique_ptr<RevealPolicy> make_policy(const Config& config, WatchedModel* remasking_model);

// Sets plan, pacing, blocks, temperatures and guidance of `options`. The plan keeps what it has worked out, may be
// asked from several threads, outlives neither `policy` nor this configuration's copy in it, and throws
// Error(bad_usage) where iterations or forwards do not fit so many positions or the strategy.
void plan_strategy(const ParsedConfig& parsed, const RevealPolicy& policy, DiffusionOptions& options);

// Steps that a text may take, where the plan is drawn for each sample.
int64_t planned_steps(const Config& config, int64_t free);

// Strategy, and what is masked again, in words.
std::string describe_strategy(const Config& config);

// How many steps, and how the masked share falls, in words.
std::string describe_schedule(const Config& config, const RevealPolicy& policy, int64_t steps);

}  // namespace demask
