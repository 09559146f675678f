// The table that a deterministic automaton is worked on in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace demask {

struct StateTable {
  int32_t classes = 0;           // of bytes
  std::vector<int32_t> next;     // [states, classes], -1: dead
  std::vector<uint8_t> accepts;  // [states]; the start is 0

  int32_t states() const { return static_cast<int32_t>(accepts.size()); }
  int32_t at(int32_t state, int32_t byte_class) const {
    return next[static_cast<size_t>(state) * static_cast<size_t>(classes) + static_cast<size_t>(byte_class)];
  }
};

// States from which no text is accepted become dead; the start stays.
void drop_dead_states(StateTable& table);

// The smallest table of the same texts, its states breadth first from the start. `table` has no dead states but perhaps
// the start.
StateTable minimized(const StateTable& table);

}  // namespace demask
