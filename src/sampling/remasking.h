// How ancestral sampling masks visible positions again, in numbers. Plain C++ without LibTorch, for the descriptions of
// strategies use it too.
#pragma once

#include <array>
#include <string_view>

#include "core/names.h"

namespace demask {

// a_t = 1 - ratio(t) is the visible share at time t; a visible position is masked again with probability sigma, as in
// ReMDM (Wang et al. 2025).
struct Remasking {
  enum class Kind { none, cap, rescale, conf, loop };
  Kind kind = Kind::none;
  // none: sigma = 0. cap: min(eta, sigma_max), sigma_max = min(1, (1 - a_s) / a_t). rescale and conf: eta * sigma_max;
  // conf then shares it among the positions. loop: while t_off < t <= t_on, a stays at alpha_on and sigma is
  // min(eta, sigma_max); before, a rises to it as without, and after, from it to 1.
  double eta = 0;
  double t_on = 0.55;
  double t_off = 0.05;
  double alpha_on = 0.9;
};

template <>
inline constexpr std::array<std::string_view, 5> names_of<Remasking::Kind>{"none", "cap", "rescale", "conf", "loop"};

}  // namespace demask
