// Which products make the matrices of transfer of a pattern's stretches, see kernels/transfer_plan.h.
#pragma once

#include <cstdint>
#include <vector>

namespace demask {

// An automaton's edges, class and next state, those of state i from 2 * first_edge[i] on.
struct FlatEdges {
  const std::vector<int32_t>& first_edge;
  const std::vector<int32_t>& edges;
  int32_t classes = 0;
  int32_t ended = -1;  // the state after which nothing given may come, or none
};

// A plan as kernels read it; empty where it would go beyond the bounds there.
std::vector<int32_t> transfer_plan(const FlatEdges& automaton);

}  // namespace demask
