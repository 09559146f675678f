// The teams of threads that the parts of a joint draw are written for.
#pragma once

#include <cstddef>

#include "kernels/pattern_rule.h"

namespace demask::kernels {

// A team of one.
struct SingleThread {
  uint32_t offer_ = 0;

  DEMASK_EVERYWHERE int rank() const { return 0; }
  DEMASK_EVERYWHERE int size() const { return 1; }
  DEMASK_EVERYWHERE void sync() {}
  DEMASK_EVERYWHERE float max(float x) { return x; }
  DEMASK_EVERYWHERE double sum(double x) { return x; }
  DEMASK_EVERYWHERE bool all(bool x) { return x; }
  // Of the ranks up to this one.
  DEMASK_EVERYWHERE double scan(double x) { return x; }
  // For each of several values, of the ranks up to this one, as many of those before it as `before` has at most.
  template <size_t count>
  DEMASK_EVERYWHERE void scan_within(double (&/*x*/)[count], const int32_t (&/*before*/)[count]) {}
  // The lowest and the highest rank that say so, or -1.
  DEMASK_EVERYWHERE int first(bool x) { return x ? 0 : -1; }
  DEMASK_EVERYWHERE int last(bool x) { return x ? 0 : -1; }
  DEMASK_EVERYWHERE double of_last_rank(double x) { return x; }
  // What offer() was given at most, once all have come to sync().
  DEMASK_EVERYWHERE void offer(uint32_t x) { offer_ = x; }
  DEMASK_EVERYWHERE uint32_t offered() const { return offer_; }
  // The smaller team that this thread is of, which one, and how many there are.
  DEMASK_EVERYWHERE SingleThread warp() { return {}; }
  DEMASK_EVERYWHERE int warp_rank() const { return 0; }
  DEMASK_EVERYWHERE int warps() const { return 1; }
};

}  // namespace demask::kernels
