#include "checkpoint/families/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using nlohmann::json;

constexpr size_t shown_value = 80;

std::string show(const json* value) {
  return value == nullptr ? "missing" : shorten(dump_json(*value), shown_value);
}

bool is_integer_between(const json& value, int64_t smallest, int64_t largest) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    return number <= static_cast<uint64_t>(largest) && (smallest <= 0 || number >= static_cast<uint64_t>(smallest));
  }
  return value.is_number_integer() && value.get<int64_t>() >= smallest && value.get<int64_t>() <= largest;
}

constexpr std::array<std::pair<std::string_view, Activation>, 7> activations{
    {{"silu", Activation::silu},
     {"swish", Activation::silu},
     {"gelu", Activation::gelu},
     {"gelu_python", Activation::gelu},
     {"gelu_new", Activation::gelu_tanh},
     {"gelu_fast", Activation::gelu_tanh},
     {"gelu_pytorch_tanh", Activation::gelu_tanh}}};

}  // namespace

const json* ConfigReader::find(std::string_view key) const {
  const auto found = object_.find(std::string(key));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::string ConfigReader::name(std::string_view key) const {
  return fmt::format("'{}{}'", outer_, key);
}

void ConfigReader::refuse(const std::string& why) const {
  fail(ExitCode::bad_input, "model configuration '{}': {}.", path_, why);
}

void ConfigReader::refuse_value(std::string_view key, const std::string& expected) const {
  refuse(fmt::format("{} is {}; expected {}", name(key), show(find(key)), expected));
}

int64_t ConfigReader::size(std::string_view key, int64_t largest, int64_t smallest) const {
  const std::optional<int64_t> value = optional_size(key, largest, smallest);
  if (!value) {
    refuse_value(key, fmt::format("an integer from {} to {}", smallest, largest));
  }
  return *value;
}

std::optional<int64_t> ConfigReader::optional_size(std::string_view key, int64_t largest, int64_t smallest) const {
  const json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!is_integer_between(*value, smallest, largest)) {
    refuse_value(key, fmt::format("an integer from {} to {}", smallest, largest));
  }
  return value->get<int64_t>();
}

double ConfigReader::number(std::string_view key, double above, double largest) const {
  const json* value = find(key);
  const bool fits =
      value != nullptr && value->is_number() && value->get<double>() > above && value->get<double>() <= largest;
  if (!fits) {
    refuse_value(key, fmt::format("a number above {} and at most {}", above, largest));
  }
  return value->get<double>();
}

std::optional<bool> ConfigReader::optional_flag(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_boolean()) {
    refuse_value(key, "true or false");
  }
  return value->get<bool>();
}

bool ConfigReader::flag(std::string_view key, bool missing) const {
  return optional_flag(key).value_or(missing);
}

std::optional<std::string> ConfigReader::optional_text(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    refuse_value(key, "a string");
  }
  return value->get<std::string>();
}

bool ConfigReader::is_other(std::string_view key, std::string_view usual, std::string_view other) const {
  const std::optional<std::string> text = optional_text(key);
  if (text && *text != usual && *text != other) {
    refuse_value(key, fmt::format("\"{}\" or \"{}\"", usual, other));
  }
  return text == other;
}

Activation ConfigReader::activation(std::string_view key) const {
  const std::optional<std::string> text = optional_text(key);
  for (const auto& [known, activation] : activations) {
    if (text == known) {
      return activation;
    }
  }
  std::vector<std::string_view> names;
  for (const auto& entry : activations) {
    names.push_back(entry.first);
  }
  refuse_value(key, fmt::format("an activation that demask computes: {}", fmt::join(names, ", ")));
}

void ConfigReader::check(const std::vector<FixedField>& fields) const {
  for (const FixedField& field : fields) {
    const json* value = find(field.key);
    const bool fits =
        value == nullptr || std::any_of(field.allowed.begin(), field.allowed.end(),
                                        [&](std::string_view allowed) { return *value == json::parse(allowed); });
    if (!fits) {
      const std::string allowed = field.allowed.empty() ? "null" : fmt::format("{}", fmt::join(field.allowed, " or "));
      refuse(fmt::format("{} is {}, which asks for {}: demask does not compute that. It reads models where it is {}",
                         name(field.key), show(value), field.otherwise, allowed));
    }
  }
}

std::optional<ConfigReader> ConfigReader::inner(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_object()) {
    refuse_value(key, "an object or null");
  }
  return ConfigReader(*value, path_, fmt::format("{}{}.", outer_, key));
}

}  // namespace demask
