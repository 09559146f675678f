// How one member of Config is read from a literal, checked against a rule, and written as a literal. Made once for each
// field of the table, by its type.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "config/config.h"
#include "config/literal.h"
#include "core/names.h"
#include "core/rule.h"
#include "sampling/strategies/strategy.h"

namespace demask {

enum class FieldType { flag, whole, number, text, wholes, numbers };

struct Member {
  FieldType type = FieldType::flag;
  bool can_be_none = false;
  std::function<Literal(const Config& config)> value;
  // False, and nothing changes, where the value has the wrong type or breaks the rule.
  std::function<bool(const Literal& value, const Rule& rule, Config& config)> assign;
};

namespace member_detail {

template <typename T>
inline constexpr FieldType type_of = FieldType::text;  // enumerations and strategies too, by their names
template <>
inline constexpr FieldType type_of<bool> = FieldType::flag;
template <>
inline constexpr FieldType type_of<int64_t> = FieldType::whole;
template <>
inline constexpr FieldType type_of<double> = FieldType::number;
template <>
inline constexpr FieldType type_of<std::vector<int64_t>> = FieldType::wholes;
template <>
inline constexpr FieldType type_of<std::vector<double>> = FieldType::numbers;

template <typename T>
inline constexpr bool is_optional = false;
template <typename T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <typename T>
struct Content {
  using Type = T;
};
template <typename T>
struct Content<std::optional<T>> {
  using Type = T;
};

// Reads `out` from a literal of its type; false where it is of another.
template <typename T>
bool read(const Literal& literal, T& out) {
  if constexpr (std::is_enum_v<T>) {
    const auto* name = std::get_if<std::string>(&literal.value);
    const auto value = name == nullptr ? std::nullopt : value_named<T>(*name);
    out = value.value_or(out);
    return value.has_value();
  } else {
    const T* value = std::get_if<T>(&literal.value);
    if (value != nullptr) {
      out = *value;
    }
    return value != nullptr;
  }
}

// A whole number will do where a number is meant.
inline bool read(const Literal& literal, double& out) {
  int64_t whole = 0;
  if (read(literal, whole)) {
    out = static_cast<double>(whole);
    return true;
  }
  return read<double>(literal, out);
}

inline bool read(const Literal& literal, const Strategy*& out) {
  const auto* name = std::get_if<std::string>(&literal.value);
  out = name == nullptr ? nullptr : find_strategy(*name);
  return out != nullptr;
}

template <typename T>
bool read(const Literal& literal, std::vector<T>& out) {
  const auto* items = std::get_if<std::vector<Literal>>(&literal.value);
  if (items == nullptr || items->empty()) {
    return false;
  }
  out.resize(items->size());
  for (size_t i = 0; i < items->size(); ++i) {
    if (!read((*items)[i], out[i])) {
      return false;
    }
  }
  return true;
}

// Whether the rule allows a value of a type that it is for. Enumerations and strategies have been found by their names.
template <typename T>
bool permits(const Rule& rule, const T& value) {
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, int64_t>) {
    const auto* range = std::get_if<Range>(&rule);
    return range == nullptr || demask::permits(*range, static_cast<double>(value));
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (const auto* choices = std::get_if<Choices>(&rule)) {
      return std::find(choices->begin(), choices->end(), value) != choices->end();
    }
    const auto* form = std::get_if<Form>(&rule);
    return form == nullptr ? !value.empty() : form->matches(value);  // without a rule it is a name or a path
  } else {
    return true;
  }
}

template <typename T>
bool permits(const Rule& rule, const std::vector<T>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [&rule](T number) { return permits(rule, number); });
}

template <typename T>
Literal to_literal(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return {std::string(name_of(value))};
  } else {
    return {value};
  }
}

inline Literal to_literal(const Strategy* strategy) {
  return {std::string(strategy->name)};
}

template <typename T>
Literal to_literal(const std::vector<T>& numbers) {
  std::vector<Literal> items(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    items[i].value = numbers[i];
  }
  return {std::move(items)};
}

}  // namespace member_detail

// The member that one pointer to member leads to, or several, one inside the other.
template <auto... Path>
Member member() {
  using Value = std::decay_t<decltype((std::declval<Config&>().*....*Path))>;
  using Content = typename member_detail::Content<Value>::Type;
  Member made;
  made.type = member_detail::type_of<Content>;
  made.can_be_none = member_detail::is_optional<Value>;
  made.value = [](const Config& config) {
    const Value& value = (config.*....*Path);
    if constexpr (member_detail::is_optional<Value>) {
      return value ? member_detail::to_literal(*value) : Literal{};
    } else {
      return member_detail::to_literal(value);
    }
  };
  made.assign = [](const Literal& literal, const Rule& rule, Config& config) {
    Value& value = (config.*....*Path);
    if constexpr (member_detail::is_optional<Value>) {
      if (literal == Literal{}) {
        value.reset();
        return true;
      }
    }
    Content candidate{};
    if (!member_detail::read(literal, candidate) || !member_detail::permits(rule, candidate)) {
      return false;
    }
    value = std::move(candidate);
    return true;
  };
  return made;
}

// A parameter of strategies, which stands in DiffusionSettings::parameters where it has a value.
Member parameter_member(const Parameter& parameter);

}  // namespace demask
