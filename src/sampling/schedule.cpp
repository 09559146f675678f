#include "demask/sampling/schedule.h"

#include <cstddef>

namespace demask {

MaskSchedule MaskSchedule::linear(int64_t iterations, double start, double end) {
  std::vector<double> ratios;
  for (int64_t i = 0; i < iterations; ++i) {
    const double progress = iterations > 1 ? static_cast<double>(i) / static_cast<double>(iterations - 1) : 0.0;
    ratios.push_back(start - progress * (start - end));
  }
  return MaskSchedule(std::move(ratios));
}

MaskSchedule MaskSchedule::custom(std::vector<double> ratios) {
  return MaskSchedule(std::move(ratios));
}

double MaskSchedule::remask_ratio(int64_t iteration) const {
  return iteration + 1 < iterations() ? ratios_[static_cast<std::size_t>(iteration + 1)] : 0.0;
}

int64_t MaskSchedule::remask_count(int64_t iteration, int64_t free_positions) const {
  return static_cast<int64_t>(static_cast<double>(free_positions) * remask_ratio(iteration));
}

}  // namespace demask
