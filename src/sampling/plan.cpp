#include "sampling/plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "sampling/noise.h"

namespace demask {
namespace {

// Few enough for (1 - p)^chunk to be a normal double where p is at most a half.
constexpr int64_t binomial_chunk = 512;

// p at most a half.
int64_t invert_binomial(int64_t trials, double p, double u) {
  double mass = std::exp(static_cast<double>(trials) * std::log1p(-p)), cumulative = mass;
  int64_t successes = 0;
  while (u >= cumulative && successes < trials) {
    mass *= static_cast<double>(trials - successes) / static_cast<double>(successes + 1) * p / (1 - p);
    ++successes;
    cumulative += mass;
  }
  return successes;
}

double share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

// The place of step i of `count` in its block.
PlannedStep placed(int64_t block, int64_t i, int64_t count) {
  PlannedStep step;
  step.block = block;
  step.start = share(i, count - 1);
  step.progress = share(i + 1, count);
  return step;
}

// Calls visit(block, size, steps) for each block.
template <typename Visit>
void for_each_block(const Pace& pace, int64_t free, Visit visit) {
  const std::vector<int64_t> sizes = block_sizes(free, pace.block_length);
  const std::vector<int64_t> steps = steps_of_blocks(pace.steps, sizes, pace.reveals_only);
  for (size_t b = 0; b < sizes.size(); ++b) {
    visit(static_cast<int64_t>(b), sizes[b], steps[b]);
  }
}

// The first step of a block that follows that of `step`.
Plan::iterator end_of_block(Plan::iterator step, Plan::iterator end) {
  return std::find_if(step, end, [&](const PlannedStep& later) { return later.block != step->block; });
}

// What ancestral sampling does between two times.
struct Chances {
  double reveal = 1, remask = 0;
};

Chances chances_between(double visible_before, double visible_after, double sigma) {
  const double hidden = 1 - visible_before;
  return {hidden > 0 ? std::clamp((visible_after - (1 - sigma) * visible_before) / hidden, 0.0, 1.0) : 1.0, sigma};
}

double largest_sigma(double visible_before, double visible_after) {
  return visible_before > 0 ? std::min(1.0, (1 - visible_after) / visible_before) : 1.0;
}

// The visible share at time t, from 1 to 0, of the loop's three phases.
double visible_in_loop(double t, const Remasking& remasking) {
  if (t > remasking.t_on) {
    return remasking.alpha_on * (1 - t) / (1 - remasking.t_on);
  }
  if (t >= remasking.t_off) {
    return remasking.alpha_on;
  }
  return 1 - t * (1 - remasking.alpha_on) / remasking.t_off;
}

Chances chances_of(const MaskSchedule& schedule, const Remasking& remasking, int64_t i, int64_t count) {
  if (remasking.kind == Remasking::Kind::loop) {
    // Times as whole multiples of 1 / count, so that both ends of a step round alike.
    const double t = share(count - i, count), s = share(count - i - 1, count);
    const double before = visible_in_loop(t, remasking), after = visible_in_loop(s, remasking);
    const bool loops = t <= remasking.t_on && t > remasking.t_off;
    return chances_between(before, after, loops ? std::min(remasking.eta, largest_sigma(before, after)) : 0.0);
  }
  const double before = i == 0 ? 0.0 : 1 - schedule.remask_ratio(i - 1), after = 1 - schedule.remask_ratio(i);
  const double most = largest_sigma(before, after);
  switch (remasking.kind) {
    case Remasking::Kind::cap:
      return chances_between(before, after, std::min(remasking.eta, most));
    case Remasking::Kind::rescale:
      return chances_between(before, after, remasking.eta * most);
    case Remasking::Kind::conf:
      // A masked position has sigma 0, so that it is revealed as without remasking.
      return {chances_between(before, after, 0).reveal, remasking.eta * most};
    default:
      return chances_between(before, after, 0);
  }
}

}  // namespace

std::vector<int64_t> block_sizes(int64_t free, std::optional<int64_t> block_length) {
  const int64_t length = block_length ? std::min(*block_length, free) : free;
  std::vector<int64_t> sizes;
  for (int64_t first = 0; first < free; first += length) {
    sizes.push_back(std::min(length, free - first));
  }
  return sizes;
}

std::vector<int64_t> steps_of_blocks(int64_t steps, const std::vector<int64_t>& sizes, bool one_each) {
  const auto blocks = static_cast<int64_t>(sizes.size());
  if (steps < blocks) {
    fail(ExitCode::bad_usage,
         "block_length makes {} blocks, which take an iteration each, but there are only {}. Raise block_length, "
         "diffusion_iterations or forwards.",
         blocks, steps);
  }
  std::vector<int64_t> each;
  int64_t left = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t even = steps / blocks + (b < steps % blocks ? 1 : 0);
    const int64_t most = one_each ? std::min(even, sizes[static_cast<size_t>(b)]) : even;
    each.push_back(most);
    left += even - most;
  }
  for (size_t b = 0; b < sizes.size() && left > 0; ++b) {
    const int64_t more = std::min(left, sizes[b] - each[b]);
    each[b] += more;
    left -= more;
  }
  return each;
}

Plan scheduled_plan(const Pace& pace, int64_t free) {
  Plan plan;
  for_each_block(pace, free, [&](int64_t block, int64_t size, int64_t count) {
    const MaskSchedule schedule = pace.schedule(count);
    int64_t masked = size;
    for (int64_t i = 0; i < count; ++i) {
      PlannedStep step = placed(block, i, count);
      const int64_t before = masked, wanted = schedule.remask_count(i, size, before);
      // Where nothing comes back, one is revealed now and one is left for each step that follows.
      const bool draws_again = pace.keeps_drawing && i + 1 < count;
      masked = pace.reveals_only ? std::clamp(wanted, count - 1 - i, before - 1)
                                 : std::max(wanted, int64_t{draws_again ? 1 : 0});
      step.masked = masked;
      if (!pace.skips_idle || masked < before) {
        plan.push_back(step);
      }
    }
  });
  return plan;
}

Plan open_plan(const Pace& pace, int64_t free) {
  Pace paced = pace;
  paced.reveals_only = true;
  Plan plan;
  for_each_block(paced, free, [&](int64_t block, int64_t /*size*/, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      plan.push_back(placed(block, i, count));
      plan.back().masked = count - 1 - i;
    }
  });
  return plan;
}

Plan fade_noise(Plan plan, double power, const std::function<double(int64_t steps)>& scale) {
  for (auto first = plan.begin(); first != plan.end();) {
    const auto end = end_of_block(first, plan.end());
    const double whole = scale(end - first);
    for (; first != end; ++first) {
      first->noise_scale = whole;
      first->noise_left = std::pow(1 - first->progress, power);
    }
  }
  return plan;
}

Plan draw_in_parts(Plan plan, const std::vector<int64_t>& sizes, const std::function<double(int64_t steps)>& redraws) {
  // A sampler rounds a share of so many positions down or up: this much more, and down is enough.
  constexpr double rounding = 0.01;
  for (auto first = plan.begin(); first != plan.end();) {
    const auto end = end_of_block(first, plan.end());
    const int64_t size = sizes[static_cast<size_t>(first->block)];
    int64_t masked = size, draws = 0;  // before a step; of all steps, where each draws all
    for (auto step = first; step != end; masked = step->masked, ++step) {
      draws += masked;
    }
    const double even = redraws(end - first) * share(size, draws);
    masked = size;
    for (auto step = first; step != end; masked = step->masked, ++step) {
      const int64_t revealed = masked - step->masked;
      const double least =
          (static_cast<double>(revealed) + rounding) / static_cast<double>(std::max<int64_t>(masked, 1));
      step->draw_share = step->masked == 0 ? 1 : std::min(1.0, std::max(even, least));
    }
    first = end;
  }
  return plan;
}

std::function<Plan(const Stream& stream, int64_t free)> plan_by(MaskSchedule schedule, bool judged) {
  return [schedule = std::move(schedule), judged](const Stream& /*stream*/, int64_t free) {
    Pace pace;
    pace.steps = schedule.iterations();
    pace.schedule = [&schedule](int64_t /*steps*/) { return schedule; };
    Plan plan = scheduled_plan(pace, free);
    for (PlannedStep& step : plan) {
      step.judged = judged;
    }
    return plan;
  };
}

int64_t binomial(int64_t trials, double p, const std::function<double(int64_t chunk)>& uniform) {
  if (p <= 0 || p >= 1) {
    return p <= 0 ? 0 : trials;
  }
  int64_t successes = 0, chunk = 0;
  for (int64_t first = 0; first < trials; first += binomial_chunk, ++chunk) {
    const int64_t size = std::min(binomial_chunk, trials - first);
    successes +=
        p <= 0.5 ? invert_binomial(size, p, uniform(chunk)) : size - invert_binomial(size, 1 - p, uniform(chunk));
  }
  return successes;
}

Plan ancestral_plan(const Pace& pace, const Remasking& remasking, const Stream& stream, int64_t free, bool skips_idle) {
  Plan plan;
  int64_t number = 0;  // of the step, over all blocks
  for_each_block(pace, free, [&](int64_t block, int64_t size, int64_t count) {
    const MaskSchedule schedule = pace.schedule(count);
    int64_t masked = size;
    for (int64_t i = 0; i < count; ++i, ++number) {
      const Chances chances = chances_of(schedule, remasking, i, count);
      PlannedStep step = placed(block, i, count);
      step.reveal_chance = chances.reveal;
      step.remask_chance = chances.remask;
      const auto draw = [&](int64_t trials, double p, Purpose purpose) {
        return binomial(trials, p,
                        [&](int64_t chunk) { return static_cast<double>(uniform_at(stream, number, chunk, purpose)); });
      };
      const int64_t revealed = draw(masked, chances.reveal, Purpose::reveal_count);
      step.remasked = draw(size - masked, chances.remask, Purpose::remask_count);
      masked += step.remasked - revealed;
      step.masked = masked;
      if (!skips_idle || revealed + step.remasked > 0 || remasking.kind == Remasking::Kind::conf) {
        plan.push_back(step);
      }
    }
  });
  return plan;
}

}  // namespace demask
