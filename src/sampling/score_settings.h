// How texts are scored, as a user says it. Plain C++ without LibTorch, for the reading of settings uses it too.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/names.h"

namespace demask {

// exact: of an autoregressive model, log p of each token given those before it.
// bound: of masked diffusion, the Monte-Carlo estimate of a lower bound on the log-likelihood.
// pseudo: of masked diffusion, log p of each token given all others, which is no likelihood of the text as a whole.
enum class ScoreMethod { automatic, exact, bound, pseudo };
template <>
inline constexpr std::array<std::string_view, 4> names_of<ScoreMethod>{"auto", "exact", "bound", "pseudo"};

inline constexpr int64_t most_score_draws = 1000000;  // of a bound
inline constexpr int64_t most_candidates = 1000;      // of which the best is kept

}  // namespace demask
