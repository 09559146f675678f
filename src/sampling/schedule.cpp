#include "sampling/schedule.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace demask {
namespace {

constexpr double half_pi = 1.57079632679489661923;
constexpr float last_dream_time = 1e-3F;

// i / (N - 1), and 0 for a single iteration.
double progress(int64_t iteration, int64_t iterations) {
  return iterations > 1 ? static_cast<double>(iteration) / static_cast<double>(iterations - 1) : 0.0;
}

template <typename Ratio>
std::vector<double> ratios_of(int64_t iterations, Ratio ratio) {
  std::vector<double> ratios;
  for (int64_t i = 0; i < iterations; ++i) {
    ratios.push_back(ratio(i));
  }
  return ratios;
}

// The i-th of `steps` + 1 numbers spaced evenly from 1 to last_dream_time, in float32 and from the nearer end, as
// torch.linspace computes it.
float dream_time(int64_t i, int64_t steps) {
  const float apart = (last_dream_time - 1) / static_cast<float>(steps);
  return i < (steps + 1) / 2 ? 1 + apart * static_cast<float>(i)
                             : last_dream_time - apart * static_cast<float>(steps - i);
}

}  // namespace

MaskSchedule MaskSchedule::linear(int64_t iterations, double start, double end) {
  return MaskSchedule(
      ratios_of(iterations, [&](int64_t i) { return start - progress(i, iterations) * (start - end); }));
}

MaskSchedule MaskSchedule::power(int64_t iterations, double start, double end, double power) {
  return MaskSchedule(ratios_of(
      iterations, [&](int64_t i) { return end + (start - end) * std::pow(1 - progress(i, iterations), power); }));
}

MaskSchedule MaskSchedule::custom(std::vector<double> ratios) {
  return MaskSchedule(std::move(ratios));
}

MaskSchedule MaskSchedule::even(int64_t iterations) {
  const auto count = static_cast<double>(iterations);
  return MaskSchedule(ratios_of(iterations, [&](int64_t i) { return 1 - static_cast<double>(i) / count; }),
                      Counting::evenly);
}

MaskSchedule MaskSchedule::cosine(int64_t iterations) {
  const auto count = static_cast<double>(iterations);
  return MaskSchedule(
      ratios_of(iterations, [&](int64_t i) { return std::cos(half_pi * static_cast<double>(i) / count); }));
}

MaskSchedule MaskSchedule::dream(int64_t iterations) {
  return MaskSchedule(ratios_of(iterations, [&](int64_t i) { return static_cast<double>(dream_time(i, iterations)); }),
                      Counting::of_the_masked);
}

double MaskSchedule::remask_ratio(int64_t iteration) const {
  return iteration + 1 < iterations() ? ratios_[static_cast<std::size_t>(iteration + 1)] : 0.0;
}

int64_t MaskSchedule::remask_count(int64_t iteration, int64_t free_positions, int64_t masked) const {
  if (counting_ == Counting::evenly) {
    const int64_t done = iteration + 1;
    return free_positions - done * (free_positions / iterations()) - std::min(done, free_positions % iterations());
  }
  if (counting_ == Counting::of_the_masked) {
    if (iteration + 1 == iterations()) {
      return 0;
    }
    const auto now = static_cast<float>(ratios_[static_cast<std::size_t>(iteration)]);
    const auto next = static_cast<float>(ratios_[static_cast<std::size_t>(iteration + 1)]);
    return masked - static_cast<int64_t>(static_cast<float>(masked) * (1 - next / now));
  }
  return static_cast<int64_t>(static_cast<double>(free_positions) * remask_ratio(iteration));
}

}  // namespace demask
