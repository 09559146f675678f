#include "sampling/strategies/strategy.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/error.h"

namespace demask {
namespace {

template <typename T>
const T& value_as(const ParameterValues& values, std::string_view name) {
  const T* value = std::get_if<T>(&values.at(name));
  if (value == nullptr) {
    throw std::logic_error(fmt::format("parameter {} is of another type", name));
  }
  return *value;
}

std::string to_text(const ParameterValue& value) {
  return std::visit([](const auto& one) { return fmt::format("{}", one); }, value);
}

void set_parameters(DiffusionSettings& settings) {
  ParameterValues own;
  for (const Parameter& parameter : settings.strategy->parameters) {
    if (settings.parameters.has(parameter.name)) {
      own.set(parameter.name, settings.parameters.at(parameter.name));
    }
  }
  settings.parameters = std::move(own);
  for (const Parameter& parameter : settings.strategy->parameters) {
    if (settings.parameters.has(parameter.name)) {
      continue;
    }
    const std::optional<ParameterValue> value = parameter.default_for != nullptr
                                                    ? parameter.default_for(settings, parameter.value)
                                                    : std::optional(parameter.value);
    if (value) {
      settings.parameters.set(parameter.name, *value);
    }
  }
}

void set_shared(DiffusionSettings& settings, const Given& given) {
  const Strategy& strategy = *settings.strategy;
  if (!given("schedule_type") && !settings.masking_ratios) {
    settings.schedule_type = strategy.schedule;
  }
  if (strategy.set_shared != nullptr) {
    strategy.set_shared(settings, given);
  }
  if (settings.schedule_type == ScheduleType::power && strategy.has_ratios && !settings.schedule_power) {
    settings.schedule_power = 2.0;
  }
}

// A flag allows what any of the strategies that share it does.
void check_ranges(const DiffusionSettings& settings) {
  for (const Parameter& parameter : settings.strategy->parameters) {
    const auto* range = std::get_if<Range>(&parameter.rule);
    if (range == nullptr || !settings.parameters.has(parameter.name)) {
      continue;
    }
    const ParameterValue& value = settings.parameters.at(parameter.name);
    const auto* whole = std::get_if<int64_t>(&value);
    const double number = whole != nullptr ? static_cast<double>(*whole) : settings.parameters.number(parameter.name);
    if (!permits(*range, number)) {
      fail(ExitCode::bad_usage, "{}={}: for strategy='{}' it must be a number{}.", parameter.name, to_text(value),
           settings.strategy->name, in_words(*range));
    }
  }
}

}  // namespace

const ParameterValue& ParameterValues::at(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) {
    throw std::logic_error(fmt::format("parameter {} has no value", name));
  }
  return found->second;
}

bool ParameterValues::flag(std::string_view name) const {
  return value_as<bool>(*this, name);
}

int64_t ParameterValues::whole(std::string_view name) const {
  return value_as<int64_t>(*this, name);
}

double ParameterValues::number(std::string_view name) const {
  return value_as<double>(*this, name);
}

const std::string& ParameterValues::text(std::string_view name) const {
  return value_as<std::string>(*this, name);
}

void ParameterValues::set(std::string_view name, ParameterValue value) {
  values_.insert_or_assign(std::string(name), std::move(value));
}

void ParameterValues::erase(std::string_view name) {
  if (const auto found = values_.find(name); found != values_.end()) {
    values_.erase(found);
  }
}

const Parameter* Strategy::find_parameter(std::string_view parameter) const {
  const auto found =
      std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& own) { return own.name == parameter; });
  return found == parameters.end() ? nullptr : &*found;
}

const Strategy* find_strategy(std::string_view name) {
  const auto found = std::find_if(strategies().begin(), strategies().end(),
                                  [&](const Strategy& strategy) { return strategy.name == name; });
  return found == strategies().end() ? nullptr : &*found;
}

const Strategy& default_strategy() {
  return strategies().front();
}

void settle_strategy(DiffusionSettings& settings, const Given& given) {
  set_shared(settings, given);
  set_parameters(settings);
  check_ranges(settings);
  if (settings.strategy->check != nullptr) {
    settings.strategy->check(settings);
  }
}

std::string describe_strategy(const DiffusionSettings& settings) {
  const Strategy& strategy = *settings.strategy;
  std::string text(strategy.name);
  if (strategy.describe != nullptr) {
    text = strategy.describe(settings);
  } else if (settings.remasking_checkpoint_name) {
    text += ", by " + *settings.remasking_checkpoint_name;
  }
  for (const Parameter& parameter : strategy.parameters) {
    if (settings.parameters.has(parameter.name) && !parameter.in_every_configuration) {
      text += fmt::format(", {} {}", parameter.label.empty() ? parameter.name : parameter.label,
                          to_text(settings.parameters.at(parameter.name)));
    }
  }
  if (settings.confidence_source) {
    text += fmt::format(", confidence by {}", name_of(*settings.confidence_source));
  }
  if (settings.block_length) {
    text += fmt::format(", blocks of {}", *settings.block_length);
  }
  if (settings.cache != CacheKind::none) {
    text += fmt::format(", {} cache", name_of(settings.cache));
  }
  if (settings.cfg_scale > 0) {
    text += fmt::format(", cfg_scale {}", settings.cfg_scale);
  }
  return text;
}

}  // namespace demask
