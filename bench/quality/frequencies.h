// How often texts use each run of tokens, and how far two such habits lie apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "bench/quality/metrics.h"

namespace demask::quality {

// The n-grams of texts, counted.
struct NgramCounts {
  std::map<Ids, int64_t> of;
  int64_t total = 0;

  // Adds each n-gram of the text `times` times; -1 takes it out again.
  void add(const Ids& text, size_t n, int64_t times = 1);
  // Adds another's counts `times` times.
  void add(const NgramCounts& other, int64_t times);
};

// Jensen-Shannon divergence of two frequencies, nats: 0 where they are alike, ln 2 where they share nothing, NaN where
// one has no n-gram. Source: Lin, Divergence measures based on the Shannon entropy, 1991.
double jensen_shannon(const NgramCounts& left, const NgramCounts& right);

}  // namespace demask::quality
