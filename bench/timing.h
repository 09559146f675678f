// Taking times: of one call that waits for the device, of many calls in a row, and what to report of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace demask::bench {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start);

// Untimed calls before the first timed one. Kernels of CUDA are loaded by the first, and memory settles by the second.
int64_t warm_ups(at::Device device);

// Seconds of each of `repeats` calls, warm, the device idle before and after each; after warm_ups(device) untimed ones,
// or for long calls so many.
std::vector<double> time_calls(at::Device device, int64_t repeats, const std::function<void()>& call,
                               std::optional<int64_t> untimed = {});

// Of two kinds of calls that took turns: seconds[i] of the one right before seconds[i] of the other.
struct Turns {
  std::vector<double> first;
  std::vector<double> second;
};

// As time_calls, but in turns, so that a machine whose speed changes meanwhile changes both alike.
Turns time_in_turns(at::Device device, int64_t repeats, const std::function<void()>& first,
                    const std::function<void()>& second);

// Median seconds of one call, warm, among others back to back: short ones are timed many at once, so that starting and
// waiting for the device do not count.
double seconds_per_call(at::Device device, int64_t repeats, const std::function<void()>& call);

struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};

// `seconds` must not be empty.
Spread spread(std::vector<double> seconds);

// {"median": ..., "min": ..., "max": ..., "every": [...]}
nlohmann::ordered_json spread_json(const std::vector<double>& seconds);

}  // namespace demask::bench
