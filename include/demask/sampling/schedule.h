// How many positions are masked again after each iteration.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace demask {

// Ratios of the free positions to mask, one an iteration; the sampler uses ratio(i + 1) at the end of iteration i.
class MaskSchedule {
 public:
  // ratio(i) = start - i / (N - 1) * (start - end), in doubles, as the Python script computes it.
  static MaskSchedule linear(int64_t iterations, double start, double end);
  static MaskSchedule custom(std::vector<double> ratios);

  int64_t iterations() const { return static_cast<int64_t>(ratios_.size()); }

  // Ratio applied at the end of iteration i: ratio(i + 1), and 0 in the last iteration.
  double remask_ratio(int64_t iteration) const;
  // floor(free_positions * remask_ratio(i)), truncated as Python's int() does.
  int64_t remask_count(int64_t iteration, int64_t free_positions) const;

 private:
  explicit MaskSchedule(std::vector<double> ratios) : ratios_(std::move(ratios)) {}
  std::vector<double> ratios_;
};

}  // namespace demask
