// What is settled about a sample's steps before its first: how many, and how much stays masked after each.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "sampling/noise.h"
#include "sampling/remasking.h"
#include "sampling/schedule.h"

namespace demask {

struct PlannedStep {
  int64_t block = 0;         // the block that it fills
  int64_t masked = 0;        // positions of that block which are masked after it
  int64_t remasked = 0;      // of them visible before it, where the plan and not the policy settles that
  double reveal_chance = 1;  // of a masked position, where each is decided on its own
  double remask_chance = 0;  // of a visible one
  double draw_share = 1;     // of the positions masked before it, those that it draws; the others wait
  // Of the noise that chooses, for a policy that leaves its fading to the plan: the product of
  double noise_scale = 1;  // what its block's steps and positions ask for
  double noise_left = 1;   // and what has not faded
  double start = 0;        // share of its block's steps done before it, of those that have a successor: 0 .. 1
  double progress = 1;     // share of its block's steps done after it: 1 after the last
  bool judged = false;     // a second forward judges what it drew
};

using Plan = std::vector<PlannedStep>;

struct Pace {
  int64_t steps = 1;
  std::function<MaskSchedule(int64_t steps)> schedule;  // that of a block, in so many steps
  std::optional<int64_t> block_length;                  // none: the whole text is one block
  // Each step reveals one position or more and hides none, so that there are at most as many as positions.
  bool reveals_only = false;
  // Each step but a block's last leaves one position masked or more, so that the next has something to draw.
  bool keeps_drawing = false;
  // Steps that would leave as much masked as before are left out: where nothing comes back they change nothing.
  bool skips_idle = false;
};

// Sizes of the blocks that `free` positions make, left to right; the last may be shorter.
std::vector<int64_t> block_sizes(int64_t free, std::optional<int64_t> block_length);

// Steps of each block: as even as can be, the first ones taking what does not divide; where `one_each`, no more than
// positions, and others take what is left over. Semi-autoregressive as in LLaDA (Nie et al. 2025, appendix B.4). Throws
// Error(bad_usage) where there are fewer steps than blocks.
std::vector<int64_t> steps_of_blocks(int64_t steps, const std::vector<int64_t>& sizes, bool one_each);

// The same for every sample: after each step as much stays masked as the schedule says.
Plan scheduled_plan(const Pace& pace, int64_t free);

// For a policy that decides how many to reveal: at most so many steps, `masked` being those left in the block.
Plan open_plan(const Pace& pace, int64_t free);

// The steps of `plan`, whose blocks have these sizes, drawing only so many of the masked positions that each position
// of a block is drawn `redraws` times on average; all where there are too few steps for that, and in a block's last
// step. What waits never exceeds what the step leaves masked.
Plan draw_in_parts(Plan plan, const std::vector<int64_t>& sizes, const std::function<double(int64_t steps)>& redraws);

// The steps of `plan`, the noise of each weighing (1 - progress)^power, times scale(steps of its block).
Plan fade_noise(Plan plan, double power, const std::function<double(int64_t steps)>& scale);

// A plan for DiffusionOptions: this schedule over the whole text, for every sample, with or without a second forward to
// judge each step.
std::function<Plan(const Stream& stream, int64_t free)> plan_by(MaskSchedule schedule, bool judged);

// Ancestral sampling, which draws how many positions a step reveals: each masked one with probability
// (a_s - (1 - sigma) a_t) / (1 - a_t), a_t = 1 - ratio(t) the visible share (MDLM, Sahoo et al. 2024, where sigma is
// 0); and how many of the visible are masked again, each with probability sigma (ReMDM, Wang et al. 2025).
// Pure function of the stream: binomial counts by inverse CDF. With `skips_idle`, steps that change nothing
// are left out, since they need no forward. Kind conf: chances only, no counts.
Plan ancestral_plan(const Pace& pace, const Remasking& remasking, const Stream& stream, int64_t free, bool skips_idle);

// How many of `trials` succeed, each with probability p, by inverse CDF from uniforms: uniform(k) serves the k-th chunk
// of trials. Exact to double precision.
int64_t binomial(int64_t trials, double p, const std::function<double(int64_t chunk)>& uniform);

}  // namespace demask
