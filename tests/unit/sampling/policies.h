// Policies of strategies, made as the program makes them: from the list of strategies, by settled settings.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "sampling/plan.h"
#include "sampling/reveal_policy.h"
#include "sampling/strategies/ancestral.h"
#include "sampling/strategies/policies.h"
#include "sampling/strategies/strategy.h"
#include "tests/support/catch.h"

namespace demask::testing {

using Values = std::initializer_list<std::pair<std::string_view, ParameterValue>>;

// With these values of the strategy's own parameters, and so many forwards where that is said.
inline DiffusionSettings settings_of(std::string_view strategy, Values values = {},
                                     std::optional<int64_t> forwards = {}) {
  DiffusionSettings settings;
  settings.forwards = forwards;
  settings.strategy = find_strategy(strategy);
  REQUIRE(settings.strategy != nullptr);
  for (const auto& [name, value] : values) {
    REQUIRE(settings.strategy->find_parameter(name) != nullptr);
    settings.parameters.set(name, value);
  }
  settle_strategy(settings, [](std::string_view) { return false; });
  return settings;
}

inline std::unique_ptr<RevealPolicy> policy_of(std::string_view strategy, Values values = {},
                                               std::optional<int64_t> forwards = {}) {
  const DiffusionSettings settings = settings_of(strategy, values, forwards);
  return make_policy(settings, /*remasking_model=*/nullptr);
}

// class_one: what class 1 of the model means.
inline std::unique_ptr<RevealPolicy> policy_by_model(std::string_view strategy, CheckedModel& model,
                                                     PositiveClass class_one, Values values = {}) {
  DiffusionSettings settings = settings_of(strategy, values);
  settings.remasking_positive_class = class_one;
  return make_policy(settings, &model);
}

inline std::unique_ptr<RevealPolicy> confidence(double alg_temp) {
  return policy_of("confidence", {{"alg_temp", alg_temp}});
}
inline std::unique_ptr<RevealPolicy> margin(double alg_temp) {
  return policy_of("margin", {{"alg_temp", alg_temp}});
}
inline std::unique_ptr<RevealPolicy> entropy(double alg_temp) {
  return policy_of("entropy", {{"alg_temp", alg_temp}});
}
inline std::unique_ptr<RevealPolicy> maskgit(double choice_temperature) {
  return policy_of("maskgit", {{"choice_temperature", choice_temperature}});
}
inline std::unique_ptr<RevealPolicy> threshold(double least) {
  return policy_of("threshold", {{"threshold", least}});
}
inline std::unique_ptr<RevealPolicy> factor(double bound) {
  return policy_of("factor", {{"factor", bound}});
}
inline std::unique_ptr<RevealPolicy> entropy_bound(double gamma) {
  return policy_of("entropy_bound", {{"gamma", gamma}});
}
inline std::unique_ptr<RevealPolicy> klass(double conf_threshold, double kl_threshold, int64_t kl_history) {
  return policy_of("klass",
                   {{"conf_threshold", conf_threshold}, {"kl_threshold", kl_threshold}, {"kl_history", kl_history}});
}
inline std::unique_ptr<RevealPolicy> confident_ancestral() {
  return policy_of("remdm", {{"remdm", std::string("conf")}});
}
inline std::unique_ptr<RevealPolicy> planner(double eta) {
  return policy_of("planner", {{"eta", eta}});
}
inline std::unique_ptr<RevealPolicy> best(double prior_weight, double new_token_bonus, double choice_temperature) {
  return policy_of("best", {{"prior_weight", prior_weight},
                            {"new_token_bonus", new_token_bonus},
                            {"choice_temperature", choice_temperature},
                            {"vocabulary_noise", 0.0}});
}
inline std::unique_ptr<RevealPolicy> random_remasking() {
  return policy_of("remask", {{"intelligent_remasking", false}});
}
inline std::unique_ptr<RevealPolicy> self_confidence(double randomness) {
  return policy_of("remask", {{"randomness_strength", randomness}});
}

}  // namespace demask::testing
