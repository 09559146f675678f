// What a strategy is: one entry that says everything about it but its policy. Each stands in a file of its own,
// strategies/<name>.cpp, with the policy, and registry.cpp lists them; flags, help, printed settings, checks, messages,
// the README's table and the benchmark's list are made from, or tested against, these entries.
//
// Neither this header nor a description knows LibTorch, so that settings are read, and errors in them told, by a
// program that has not loaded it. policies.h is where tensors begin.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/rule.h"
#include "sampling/diffusion_settings.h"

namespace demask {

struct Remasking;

// A setting of a strategy's own. Strategies may share one: then its type is the same for all and its flag one.
struct Parameter {
  std::string_view name;
  ParameterValue value;  // the default, whose type is the parameter's
  Rule rule;             // Range or Choices, or none
  std::string_view help;
  std::string_view label = {};  // in the description of a run, where it is not the name
  // Null, or the default where that depends on other settings, none where they leave the parameter without. `usual` is
  // `value`; the parameters before this one have their values.
  std::optional<ParameterValue> (*default_for)(const DiffusionSettings& settings,
                                               const ParameterValue& usual) = nullptr;
  // Stands in every configuration with its default, as in the guide's script; others are None unless a strategy that
  // takes them is chosen.
  bool in_every_configuration = false;
};

// How the steps of a sample come about.
enum class Pacing {
  remasks,             // the schedule says how much stays masked; what was revealed may be masked again
  remasks_some,        // so, and each step but the last leaves something masked to draw again
  reveals,             // the schedule says how much is revealed, never undone, one position or more a step
  decides,             // the policy decides how much is revealed, until all is
  follows_the_process  // how much is revealed and masked again is drawn for each sample (ancestral_plan)
};

// A way of using the strategy that is worth measuring: a label, and arguments beside --strategy.
struct Variant {
  std::string_view label;
  std::vector<std::string_view> arguments;
};

// Whether the user gave a setting, or left it at its default.
using Given = std::function<bool(std::string_view name)>;

struct Strategy {
  std::string_view name;
  std::string_view summary;   // what it does, in a line of the README's table
  std::string_view forwards;  // what that costs in N iterations, likewise
  std::string_view source;    // the paper or code that it is from
  std::vector<Parameter> parameters;
  std::vector<Variant> variants;  // none: the strategy as it is

  Pacing pacing = Pacing::remasks;
  bool has_ratios = false;                          // takes start_ratio, end_ratio and schedule_type='power'
  bool ranks_by_confidence = false;                 // takes confidence_source
  bool takes_remasking_model = false;               // takes remasking_checkpoint_name
  ScheduleType schedule = ScheduleType::linear;     // unless another is given
  ConfidenceSource judge = ConfidenceSource::draw;  // unless another is given

  // Null, or sets what the strategy would have otherwise of the settings that all share.
  void (*set_shared)(DiffusionSettings& settings, const Given& given) = nullptr;
  // Null, or throws Error(bad_usage) where settings contradict each other.
  void (*check)(const DiffusionSettings& settings) = nullptr;
  // Null, or the strategy in words, in place of its name and its model's.
  std::string (*describe)(const DiffusionSettings& settings) = nullptr;
  // Where its pacing follows the process: null, or how that masks visible positions again.
  Remasking (*remasking)(const DiffusionSettings& settings) = nullptr;

  bool takes_schedule() const { return pacing != Pacing::decides; }   // schedule_type and masking_ratios
  const Parameter* find_parameter(std::string_view parameter) const;  // null: it does not take it
};

// All of them. Names are unique.
const std::vector<Strategy>& strategies();

// Null where there is none of that name.
const Strategy* find_strategy(std::string_view name);

// Once all is read: sets the strategy's own defaults, drops parameters that are not its own, and throws
// Error(bad_usage) where a value is beyond the strategy's range or settings contradict each other.
void settle_strategy(DiffusionSettings& settings, const Given& given);

// Strategy, parameters, and what is masked again, in words.
std::string describe_strategy(const DiffusionSettings& settings);

}  // namespace demask
