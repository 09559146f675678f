// By what a trace's file is known.
#pragma once

#include <string_view>

namespace demask {

inline constexpr std::string_view trace_format = "demask trace";
inline constexpr int trace_version = 1;

}  // namespace demask
