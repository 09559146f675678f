// Splits a run into batches that fit in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace demask {

struct BatchPlan {
  int64_t first_sample = 0;
  int64_t num_samples = 0;
  int64_t batch_size = 1;
};

// How many samples of `length` tokens over `outputs` logits to run at once: `requested`, or as many as an estimate of
// their activations fits in half of the device's free memory. At most num_samples.
int64_t choose_batch_size(std::optional<int64_t> requested, int64_t num_samples, int64_t length, int64_t outputs,
                          at::Device device);

// Calls run_batch(first_index, count) until every sample is done. A batch that runs out of memory is halved and tried
// again, with a notice on stderr; so are those after it. Throws Error(failed) when not even one sample fits.
void for_each_batch(const BatchPlan& plan, at::Device device, const std::function<void(int64_t, int64_t)>& run_batch);

}  // namespace demask
