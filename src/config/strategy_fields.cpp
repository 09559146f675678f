#include "config/strategy_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <variant>

namespace demask {
namespace {

// What either allows.
Rule widened(const Rule& one, const Rule& other) {
  const auto *left = std::get_if<Range>(&one), *right = std::get_if<Range>(&other);
  if (left == nullptr || right == nullptr) {
    return one;
  }
  return Range{std::min(left->low, right->low), std::max(left->high, right->high), left->above_low && right->above_low};
}

// The help of a parameter; where those that take it say different things, each one's with its name.
std::string help_of(std::string_view parameter) {
  std::string all, first;
  bool differ = false;
  for (const Strategy& strategy : strategies()) {
    if (const Parameter* own = strategy.find_parameter(parameter)) {
      differ = differ || (!first.empty() && own->help != first);
      first = own->help;
      all += fmt::format("{}{}: {}", all.empty() ? "" : "; ", strategy.name, own->help);
    }
  }
  return differ ? all : first;
}

}  // namespace

Choices names_where(const std::function<bool(const Strategy&)>& holds) {
  Choices names;
  for (const Strategy& strategy : strategies()) {
    if (holds(strategy)) {
      names.push_back(strategy.name);
    }
  }
  return names;
}

std::vector<Field> parameter_fields(std::string_view group, bool in_every_configuration) {
  std::vector<Field> table;
  for (const Strategy& strategy : strategies()) {
    for (const Parameter& parameter : strategy.parameters) {
      if (parameter.in_every_configuration != in_every_configuration) {
        continue;
      }
      const auto same =
          std::find_if(table.begin(), table.end(), [&](const Field& field) { return field.name == parameter.name; });
      if (same != table.end()) {
        same->rule = widened(same->rule, parameter.rule);
        continue;
      }
      table.push_back({parameter.name, parameter_member(parameter), parameter.rule, group, Role::text,
                       help_of(parameter.name), "",
                       [name = parameter.name](const Strategy& one) { return one.find_parameter(name) != nullptr; }});
    }
  }
  return table;
}

}  // namespace demask
