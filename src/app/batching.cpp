#include "demask/app/batching.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "demask/core/error.h"
#include "demask/model/device.h"

namespace demask {
namespace {

// Beyond this a larger batch is no faster, and progress and interruption get coarse.
constexpr int64_t largest_batch = 256;

// An estimate, since halving corrects it: activations of a 12-layer, 768-wide model, and some ten copies of the logits
// (filters, softmax, cumulative sums) in float32.
constexpr int64_t activation_bytes_per_token = int64_t{64} * 1024;
constexpr int64_t bytes_per_logit = int64_t{10} * 4;

}  // namespace

int64_t choose_batch_size(std::optional<int64_t> requested, int64_t num_samples, int64_t length, int64_t outputs,
                          at::Device device) {
  if (requested) {
    return std::min(*requested, num_samples);
  }
  const int64_t bytes_per_sample = length * (activation_bytes_per_token + outputs * bytes_per_logit);
  const int64_t fitting = std::max<int64_t>(1, free_memory_bytes(device) / 2 / bytes_per_sample);
  return std::min({num_samples, fitting, largest_batch});
}

void for_each_batch(const BatchPlan& plan, at::Device device, const std::function<void(int64_t, int64_t)>& run_batch) {
  int64_t batch_size = plan.batch_size;
  const int64_t end = plan.first_sample + plan.num_samples;
  for (int64_t first = plan.first_sample; first < end;) {
    const int64_t count = std::min(batch_size, end - first);
    try {
      run_batch(first, count);
      first += count;
      continue;
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) {
        throw;
      }
    }
    if (count == 1) {
      fail(ExitCode::failed,
           "out of memory on {} with a single sample. Reduce --sequence_length or use a smaller model or dtype.",
           device.str());
    }
    batch_size = count / 2;
    release_cached_memory(device);
    fmt::print(stderr, "Notice: out of memory on {} with {} samples at once; going on with {}.\n", device.str(), count,
               batch_size);
  }
}

}  // namespace demask
