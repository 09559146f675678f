// Batches as observers are told of them.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "sampling/sample.h"

namespace demask::testing {

// Samples with these indices, which draw `tokens` tokens in `steps` steps.
inline BatchView batch_of(const std::vector<int64_t>& indices, int64_t steps, int64_t tokens) {
  BatchView batch{{}, steps, tokens};
  for (const int64_t index : indices) {
    batch.samples.push_back({{index, 0, {}, 1337}, 0, std::numeric_limits<int64_t>::max()});
  }
  return batch;
}

}  // namespace demask::testing
