// What the elements of a tensor are, for those who read and tell of tensors without LibTorch.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "core/names.h"

namespace demask {

enum class ElementType { float32, float64, float16, bfloat16, int8 };

template <>
inline constexpr std::array<std::string_view, 5> names_of<ElementType>{"float32", "float64", "float16", "bfloat16",
                                                                       "int8"};

constexpr std::size_t bytes_of(ElementType type) {
  constexpr std::array<std::size_t, 5> bytes{4, 8, 2, 2, 1};
  return bytes[static_cast<std::size_t>(type)];
}

}  // namespace demask
