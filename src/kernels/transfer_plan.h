// How the positions of a stretch become one matrix of transfer, so that a text's messages go stretch by stretch.
//
// A position's matrix says what each state's message takes of each state's after it: the weights of the edges between
// the two. It has few entries, and the product of a stretch's matrices often has few as well: which ones, and of which
// products they are sums, follows from the automaton alone. Products are taken in pairs: of 2 positions, of 4, of 8,
// and of 16, a level each. Where stretches begin follows from the position alone, so that a sample is the same in any
// batch.
#pragma once

#include <cstdint>

#include "kernels/pattern_rule.h"

namespace demask::kernels {

inline constexpr int transfer_levels = 4;
inline constexpr int stretch_positions = 1 << transfer_levels;

// States of a text for which stretches are; a row's entries stand this far apart in a stretch's matrix.
inline constexpr int transfer_width = 64;

// Bounds on a plan: classes of its table, entries of a row of a stretch's matrix, entries of all matrices of a level
// below that together, and numbers in all.
inline constexpr int most_transfer_classes = 127, most_transfer_row = 32, most_level_entries = 3072,
                     most_plan_numbers = 6144;

// The first numbers of a packed plan.
enum PlanHeader : int32_t {
  plan_size,     // numbers in all
  plan_row,      // entries of a row of a stretch's matrix
  plan_ended,    // entries of the state after which nothing given may come: the first of a position's matrix, and
  plan_left,     // the one after the last
  plan_columns,  // where the columns of a stretch's entries stand, [row, transfer_width]
  plan_levels,   // of each level the entries, where the first part of each stands [entries + 1], and where parts do
  plan_header_size = plan_levels + 3 * (transfer_levels + 1)
};

// Entries of a level's matrix in the order of states, and of a state's in that of columns; a stretch's own are
// [row, transfer_width], each state's in the order of columns. Parts of a position's entry are classes. Those of other
// entries are pairs, an entry of the first half's matrix and 65,536 times one of the second half's.
struct TransferPlan {
  const int32_t* packed = nullptr;

  DEMASK_EVERYWHERE int32_t size() const { return packed[plan_size]; }
  DEMASK_EVERYWHERE int32_t row() const { return packed[plan_row]; }
  DEMASK_EVERYWHERE const int32_t* columns() const { return packed + packed[plan_columns]; }
  DEMASK_EVERYWHERE int32_t entries(int level) const { return packed[plan_levels + 3 * level]; }
  DEMASK_EVERYWHERE const int32_t* first(int level) const { return packed + packed[plan_levels + 3 * level + 1]; }
  DEMASK_EVERYWHERE const int32_t* parts(int level) const { return packed + packed[plan_levels + 3 * level + 2]; }
};

DEMASK_EVERYWHERE inline int64_t stretches_of(int64_t length) {
  return (length + stretch_positions - 1) / stretch_positions;
}

}  // namespace demask::kernels
