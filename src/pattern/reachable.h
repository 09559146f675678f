// Which numbers of tokens lead from which states to the end of a text that matches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "pattern/token_automaton.h"

namespace demask {

// States from which exactly so many drawn tokens make a match. A state's answer for n + 1 tokens follows from all
// answers for n, so answers repeat sooner or later, and only those before that are kept.
class Reachable {
 public:
  // For up to `most` tokens.
  Reachable(const TokenAutomaton& automaton, int64_t most);

  bool from(int32_t state, int64_t tokens) const;

 private:
  std::vector<std::vector<bool>> rows_;  // by number of tokens, then state
  size_t repeats_from_ = 0;              // where they go round: after the last row comes this one
};

// Fewest and most tokens of the texts that match and have not ended before. No shortest: there are none; no longest:
// there is no limit.
struct MatchLengths {
  std::optional<int64_t> shortest, longest;
};
MatchLengths match_lengths(const TokenAutomaton& automaton);

}  // namespace demask
