#include "sampling/strategy_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "sampling/plan.h"

namespace demask {
namespace {

bool follows_the_process(const DiffusionSettings& settings) {
  return settings.strategy->pacing == Pacing::follows_the_process;
}

// Whether start_ratio and end_ratio say how the masked share falls, for strategies that take them.
bool falls_by_ratios(const DiffusionSettings& settings) {
  return settings.schedule_type == ScheduleType::linear || settings.schedule_type == ScheduleType::power;
}

Remasking remasking_of(const DiffusionSettings& settings) {
  return settings.strategy->remasking == nullptr ? Remasking{} : settings.strategy->remasking(settings);
}

// A model call by the prompt alone comes on top of each with guidance.
int64_t forwards_a_step(const DiffusionSettings& settings) {
  return settings.cfg_scale > 0 ? 2 : 1;
}

bool asks_to_rescore(const DiffusionSettings& settings) {
  return settings.confidence_source.value_or(settings.strategy->judge) == ConfidenceSource::rescore;
}

double rescored_share(const DiffusionSettings& settings) {
  return settings.parameters.has("rescored_share") ? settings.parameters.number("rescored_share") : 0;
}

std::function<MaskSchedule(int64_t steps)> schedule_of(const DiffusionSettings& settings) {
  const double start = settings.start_ratio, end = settings.end_ratio;
  switch (settings.schedule_type) {
    case ScheduleType::custom:
      return [ratios = *settings.masking_ratios](int64_t /*steps*/) { return MaskSchedule::custom(ratios); };
    case ScheduleType::cosine:
      return [](int64_t steps) { return MaskSchedule::cosine(steps); };
    case ScheduleType::power:
      return [start, end, power = *settings.schedule_power](int64_t steps) {
        return MaskSchedule::power(steps, start, end, power);
      };
    case ScheduleType::dream:
      return [](int64_t steps) { return MaskSchedule::dream(steps); };
    case ScheduleType::linear:
      break;
  }
  if (settings.strategy->has_ratios) {
    return [start, end](int64_t steps) { return MaskSchedule::linear(steps, start, end); };
  }
  return [](int64_t steps) { return MaskSchedule::even(steps); };
}

// Forwards that a step takes, and those more that judging it takes.
struct Cost {
  int64_t step = 1;
  int64_t judging = 0;      // 0: nothing judges
  double judged_share = 1;  // of the forwards, at most, that judge
};

Cost cost_of(const DiffusionSettings& settings, const RevealPolicy& policy) {
  Cost cost;
  cost.step = forwards_a_step(settings);
  const double share = rescored_share(settings);
  if (policy.has_own_model()) {
    cost.judging = 1;
  } else if (share > 0) {
    cost.judging = cost.step;
    cost.judged_share = share;
  } else if (policy.reads_logits(/*judged=*/true) && asks_to_rescore(settings)) {
    cost.judging = cost.step;
  }
  return cost;
}

// Steps whose choice can be judged: the last of each block chooses nothing.
int64_t count_judgeable(const Plan& plan) {
  return std::count_if(plan.begin(), plan.end(), [](const PlannedStep& step) { return step.masked > 0; });
}

// Marks the last `count` of them: late choices profit most from a second look.
Plan judge_last(Plan plan, int64_t count) {
  for (auto step = plan.rbegin(); step != plan.rend() && count > 0; ++step) {
    if (step->masked > 0) {
      step->judged = true;
      --count;
    }
  }
  return plan;
}

// The plan with the fewest steps, so the most judged ones, that spends exactly `forwards`.
template <typename PlanFor>
Plan spend(int64_t forwards, const Cost& cost, int64_t least_steps, PlanFor plan_for) {
  // No more of the forwards than the share, nor than one for each step, can judge.
  const double judging_share =
      std::min(cost.judged_share, static_cast<double>(cost.judging) / static_cast<double>(cost.judging + cost.step));
  const auto drawing = static_cast<int64_t>(static_cast<double>(forwards) * (1 - judging_share));
  for (int64_t steps = std::max(least_steps, drawing / cost.step); steps * cost.step <= forwards; ++steps) {
    const int64_t rest = forwards - steps * cost.step;
    Plan plan = plan_for(steps);
    if (static_cast<int64_t>(plan.size()) < steps) {
      break;  // no position is left for one more
    }
    if (rest == 0) {
      return plan;
    }
    const bool is_little = static_cast<double>(rest) <= cost.judged_share * static_cast<double>(forwards);
    if (cost.judging > 0 && is_little && rest % cost.judging == 0 && rest / cost.judging <= count_judgeable(plan)) {
      return judge_last(std::move(plan), rest / cost.judging);
    }
  }
  return {};
}

int64_t count_blocks(const DiffusionSettings& settings, int64_t free) {
  return static_cast<int64_t>(block_sizes(free, settings.block_length).size());
}

// Of a whole text in `blocks` blocks.
Pace pace_of(const DiffusionSettings& settings, int64_t blocks) {
  Pace pace;
  pace.schedule = schedule_of(settings);
  pace.block_length = settings.block_length;
  const bool reveals = settings.strategy->pacing == Pacing::reveals;
  // Dream's steps may reveal nothing; where an exact number of forwards is to be spent they are spent, too.
  const bool may_idle = settings.schedule_type == ScheduleType::dream;
  pace.reveals_only = reveals && !may_idle;
  pace.skips_idle = reveals && may_idle && !settings.forwards;
  pace.keeps_drawing = settings.strategy->pacing == Pacing::remasks_some;
  // Each block follows the whole list of ratios.
  pace.steps = iterations_of(settings) * (settings.schedule_type == ScheduleType::custom ? blocks : 1);
  if (follows_the_process(settings) && settings.forwards) {
    pace.steps = *settings.forwards / forwards_a_step(settings);
  }
  return pace;
}

// How fast the draws of a position fall with more steps than the usual. A drawing by more steps sees a text that is
// nearer its end, and needs less of a second look, while each look lets the likeliest win once more
// (docs/strategies.md).
constexpr double redraws_power = 0.35;
// The draws that very many steps keep, of those of the usual. Too little would be chosen from otherwise: words fell.
constexpr double least_redraws = 0.63;
// How much more noise very many steps have than those. A token is compared in each step, by noise that is new: the more
// steps, the more of it averages out, and doubt alone would decide.
constexpr double more_noise = 3.2, noise_growth = 0.8;

// How many times the usual steps, where they are more.
double times_usual(int64_t steps) {
  return std::max(1.0, static_cast<double>(steps) / usual_forwards);
}

// A text of more positions than `best` was measured with settles on fewer tokens in few steps. So its noise is at least
// this power of how many times longer it is.
constexpr double usual_positions = 256, length_power = 0.45;

double noise_of(int64_t steps, int64_t positions) {
  const double longer = std::max(1.0, static_cast<double>(positions) / usual_positions);
  return std::max(std::pow(longer, length_power), 1 + more_noise * (1 - std::pow(times_usual(steps), -noise_growth)));
}

bool draws_in_parts(const DiffusionSettings& settings) {
  return settings.parameters.has("redraws") && settings.parameters.number("redraws") > 0;
}

// common_plan, where each step draws all that is masked.
Plan whole_plan(const DiffusionSettings& settings, const Cost& cost, int64_t free) {
  const Pacing pacing = settings.strategy->pacing;
  const int64_t blocks = count_blocks(settings, free);
  const Pace pace = pace_of(settings, blocks);
  const auto plan_for = [&](int64_t steps) {
    Pace paced = pace;
    paced.steps = steps;
    return pacing == Pacing::decides ? open_plan(paced, free) : scheduled_plan(paced, free);
  };
  if (settings.forwards) {
    Plan plan = spend(*settings.forwards, cost, blocks, plan_for);
    if (plan.empty()) {
      fail(ExitCode::bad_usage,
           "forwards={} cannot be spent exactly by strategy='{}' on {} positions to fill{}: {} a step{}{}. Choose "
           "another number.",
           *settings.forwards, settings.strategy->name, free, blocks > 1 ? fmt::format(" in {} blocks", blocks) : "",
           cost.step, cost.judging > 0 ? fmt::format(", {} more where it is judged", cost.judging) : "",
           pacing == Pacing::reveals || pacing == Pacing::decides ? ", and a step for each position at most" : "");
    }
    return plan;
  }
  Plan plan = plan_for(pacing == Pacing::decides ? free : pace.steps);
  if (cost.judging > 0) {
    // Of the forwards that they come to, those that judge are the share.
    const double steps = static_cast<double>(plan.size()), share = cost.judged_share;
    const double judged = share < 1 ? steps * share / (1 - share) : steps;
    plan = judge_last(std::move(plan), static_cast<int64_t>(judged));
  }
  return plan;
}

// The plan that is the same for every sample with so many free positions.
Plan common_plan(const DiffusionSettings& settings, const Cost& cost, int64_t free) {
  Plan plan = whole_plan(settings, cost, free);
  const bool in_parts = draws_in_parts(settings);
  const std::vector<int64_t> sizes = block_sizes(free, settings.block_length);
  if (settings.parameters.has("noise_power")) {
    plan = fade_noise(std::move(plan), settings.parameters.number("noise_power"),
                      [&](int64_t steps) { return in_parts ? noise_of(steps, sizes.front()) : 1.0; });
  }
  if (!in_parts) {
    return plan;
  }
  return draw_in_parts(std::move(plan), sizes, [&](int64_t steps) {
    const double usual = settings.parameters.number("redraws");
    return usual * std::max(least_redraws, std::pow(usual_forwards / static_cast<double>(steps), redraws_power));
  });
}

// What was worked out for each number of free positions; prompts are made ready while others are drawn.
class PlanCache {
 public:
  explicit PlanCache(std::function<Plan(int64_t free)> make) : make_(std::move(make)) {}
  Plan operator()(int64_t free) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = plans_.find(free);
    return found != plans_.end() ? found->second : plans_.emplace(free, make_(free)).first->second;
  }

 private:
  std::function<Plan(int64_t free)> make_;
  std::mutex mutex_;
  std::map<int64_t, Plan> plans_;
};

}  // namespace

int64_t iterations_of(const DiffusionSettings& settings) {
  return settings.schedule_type == ScheduleType::custom ? static_cast<int64_t>(settings.masking_ratios->size())
                                                        : settings.diffusion_iterations;
}

int64_t forwards_of_iterations(const DiffusionSettings& settings) {
  const bool rescores =
      settings.strategy->ranks_by_confidence && asks_to_rescore(settings) && !settings.remasking_checkpoint_name;
  return iterations_of(settings) * forwards_a_step(settings) * (rescores || rescored_share(settings) > 0 ? 2 : 1);
}

int64_t planned_steps(const DiffusionSettings& settings, int64_t free) {
  return pace_of(settings, count_blocks(settings, free)).steps;
}

void plan_strategy(const DiffusionSettings& settings, const RevealPolicy& policy, DiffusionOptions& options) {
  options.block_length = settings.block_length;
  options.cache = settings.cache;
  options.cfg_scale = settings.cfg_scale;
  options.temperature_end = settings.temperature_end;
  if (settings.parameters.has("temperature_power")) {
    options.temperature_power = settings.parameters.number("temperature_power");
  }
  options.draws_in_parts = draws_in_parts(settings);
  options.judges_filtered = settings.confidence_source == ConfidenceSource::filtered;
  const Cost cost = cost_of(settings, policy);
  if (follows_the_process(settings)) {
    if (settings.forwards && *settings.forwards % cost.step != 0) {
      fail(ExitCode::bad_usage, "forwards={}: with cfg_scale={} each step takes two; make it even.", *settings.forwards,
           settings.cfg_scale);
    }
    options.plan = [settings](const Stream& stream, int64_t free) {
      return ancestral_plan(pace_of(settings, count_blocks(settings, free)), remasking_of(settings), stream, free,
                            /*skips_idle=*/!settings.forwards);
    };
    options.plan_per_sample = true;
    return;
  }
  options.spends_all = settings.forwards && settings.strategy->pacing == Pacing::decides;
  const auto plans =
      std::make_shared<PlanCache>([settings, cost](int64_t free) { return common_plan(settings, cost, free); });
  options.plan = [plans](const Stream& /*stream*/, int64_t free) { return (*plans)(free); };
}

std::string describe_schedule(const DiffusionSettings& settings, int64_t steps) {
  if (settings.strategy->pacing == Pacing::decides) {
    return settings.forwards ? fmt::format("{} iterations", steps)
                             : fmt::format("until all is filled, at most {} iterations", steps);
  }
  if (settings.schedule_type == ScheduleType::custom) {
    return fmt::format("{} iterations, custom ratios", steps);
  }
  const bool loops = remasking_of(settings).kind == Remasking::Kind::loop;
  const bool ratios = settings.strategy->has_ratios && falls_by_ratios(settings);
  return fmt::format("{} iterations, {}{}{}", steps, loops ? "looping" : name_of(settings.schedule_type),
                     settings.schedule_power ? fmt::format(" {}", *settings.schedule_power) : "",
                     ratios ? fmt::format(" from {} to {}", settings.start_ratio, settings.end_ratio) : "");
}

std::vector<std::string> notices_about(const DiffusionSettings& settings, const Given& given) {
  std::vector<std::string> notices;
  if (falls_by_ratios(settings) && settings.start_ratio < settings.end_ratio) {
    notices.push_back(
        fmt::format("start_ratio={} is below end_ratio={}: the masked share grows from one iteration to the next.",
                    settings.start_ratio, settings.end_ratio));
  }
  if (!given("diffusion_iterations")) {
    return notices;
  }
  const int64_t iterations = iterations_of(settings);
  if (settings.diffusion_iterations != iterations) {
    notices.push_back(
        fmt::format("masking_ratios has {} ratios, so there are {} iterations, not diffusion_iterations={}.",
                    iterations, iterations, settings.diffusion_iterations));
  }
  if (settings.strategy->pacing == Pacing::decides && !settings.forwards) {
    notices.push_back(
        fmt::format("diffusion_iterations has no use with strategy='{}', which ends when all is filled; forwards "
                    "says how many to spend.",
                    settings.strategy->name));
  }
  return notices;
}

}  // namespace demask
