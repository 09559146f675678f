// What MDLM's description and the arithmetic on its tensors have in common.
#pragma once

#include <cstdint>

namespace demask {

inline constexpr int64_t mdlm_time_features = 256;
inline constexpr double mdlm_rotary_base = 10000;

}  // namespace demask
