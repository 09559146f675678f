// The samples of one call of the diffusion sampler, and what is known of their steps before the first.
#pragma once

#include <cstdint>
#include <vector>

#include "model/block_cache.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/noise.h"
#include "sampling/plan.h"

namespace demask {

// Steps of one kind do the same work each time: they mask positions again, the same after a second forward, or mask
// nothing.
enum class StepKind { masking, judging, filling };

// Columns of DiffusionBatch::counts and DiffusionBatch::numbers.
enum Count : int64_t { block_column, masked_column, remasked_column, count_columns };
enum Number : int64_t {
  start_column,
  progress_column,
  reveal_column,
  remask_column,
  share_column,
  noise_scale_column,
  noise_left_column,
  number_columns
};

struct DiffusionBatch {
  // counts_known: the plans and not the policy decide how much a step reveals. The tasks must outlive the batch. Throws
  // c10::ValueError where the texts cannot be drawn together.
  DiffusionBatch(const std::vector<DiffusionTask>& all, const DiffusionOptions& options, bool counts_known);

  const std::vector<DiffusionTask>& tasks;
  std::vector<Stream> streams;
  int64_t size = 0;
  int64_t length = 0;           // of each text
  int64_t free = 0;             // positions to fill, over all texts
  int64_t steps = 0;            // at most
  std::vector<Plan> plans;      // one for all, or one a sample
  std::vector<int64_t> blocks;  // of each text; where there is only one, of the first text
  std::vector<Window> windows;  // what a step of each block computes, by the first text; where nothing is kept, none
  std::vector<StepKind> kinds;  // of each step
  std::vector<int64_t> traced;  // rows

  // Whether each step fills the same block in every text, at the same positions, where the plans say which.
  bool fills_same_positions() const;
  // The block that step `number` fills, by the first plan.
  int64_t block_of(int64_t number) const { return at(plans[0], number).block; }
  // The first block of a text that has so many positions masked, in it and in those after it; `masked` above 0.
  int64_t first_block_of(int64_t masked) const;
  // Steps after `number` that do the same work: of its kind, and where windows are computed, over one of its size.
  int64_t steps_like(int64_t number) const;
  // Positions that the steps before `number` have left masked in the block that step fills; of the first plan.
  int64_t drawn_each(int64_t number) const;
  // Positions of a text with this plan that are masked after step `number`.
  int64_t masked_after(const Plan& plan, int64_t number) const;
  // Positions of all texts that are masked after step `number`; before the first for -1.
  int64_t masked_after(int64_t number) const;
  // As observers see it; open_ended: until nothing is masked any more.
  BatchView view(bool open_ended) const;

  // Rows of the plans' tables: one for all texts, or one a text.
  int64_t rows() const { return static_cast<int64_t>(plans.size()); }
  // The plans as tables [rows, steps, columns], at least as many steps as there are. All plans are as long as the
  // longest: one that has ended goes on without changing anything.
  void write_counts(int64_t steps_of_table, int64_t* counts) const;
  void write_numbers(int64_t steps_of_table, float* numbers) const;

 private:
  const PlannedStep& at(const Plan& plan, int64_t number) const;
  bool judges(int64_t number, bool counts_known) const;
};

}  // namespace demask
