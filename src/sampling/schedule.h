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
  // ratio(i) = end + (start - end) * (1 - i / (N - 1))^power: above 1, the share falls fast at first.
  static MaskSchedule power(int64_t iterations, double start, double end, double power);
  static MaskSchedule custom(std::vector<double> ratios);
  // ratio(i) = 1 - i / N: as many positions revealed in each iteration as in any other, the first ones taking what does
  // not divide (LLaDA, Nie et al. 2025, its get_num_transfer_tokens).
  static MaskSchedule even(int64_t iterations);
  // ratio(i) = cos(pi / 2 * i / N). Source: Chang et al. 2022 (MaskGIT), section 3.3.
  static MaskSchedule cosine(int64_t iterations);
  // ratio(i) = t_i, where t_0 .. t_N are spaced evenly from 1 to 0.001. What it masks follows from how much is masked,
  // in float32 as the script computes it: of m positions int(m * (1 - t_{i+1} / t_i)) are revealed, perhaps none, and
  // in the last iteration all. Source: Dream (Ye et al. 2025), its diffusion_generate with eps=1e-3.
  static MaskSchedule dream(int64_t iterations);

  int64_t iterations() const { return static_cast<int64_t>(ratios_.size()); }

  // Ratio applied at the end of iteration i: ratio(i + 1), and 0 in the last iteration.
  double remask_ratio(int64_t iteration) const;
  // floor(free_positions * remask_ratio(i)), truncated as Python's int() does; for `even` what is left to reveal; for
  // `dream` what follows from `masked`, the number masked before iteration i, which the others do not ask for.
  int64_t remask_count(int64_t iteration, int64_t free_positions, int64_t masked) const;

 private:
  enum class Counting { by_ratio, evenly, of_the_masked };
  explicit MaskSchedule(std::vector<double> ratios, Counting counting = Counting::by_ratio)
      : ratios_(std::move(ratios)), counting_(counting) {}
  std::vector<double> ratios_;
  Counting counting_;
};

}  // namespace demask
