// Enumerations whose values have names, as users write them: a list of names beside each, in the order of the values.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace demask {

// To be specialised for each such enumeration, whose values count from 0 without gaps.
template <typename Enumeration>
inline constexpr std::array<std::string_view, 0> names_of{};

template <typename Enumeration>
constexpr std::string_view name_of(Enumeration value) {
  return names_of<Enumeration>[static_cast<std::size_t>(value)];
}

// None where no value has the name.
template <typename Enumeration>
std::optional<Enumeration> value_named(std::string_view name) {
  constexpr auto& names = names_of<Enumeration>;
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? std::nullopt
                              : std::optional<Enumeration>(static_cast<Enumeration>(found - names.begin()));
}

}  // namespace demask
