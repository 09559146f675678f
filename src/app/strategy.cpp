#include "app/strategy.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "app/session.h"
#include "core/error.h"
#include "sampling/strategies/adaptive.h"
#include "sampling/strategies/ancestral.h"
#include "sampling/strategies/informative.h"
#include "sampling/strategies/planner.h"
#include "sampling/strategies/ranked.h"
#include "sampling/strategies/remasking.h"

namespace demask {
namespace {

bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* other) { return name == other; });
}

bool is_ancestral(const Config& config) {
  return is_one_of(config.strategy, {"ancestral", "remdm"});
}

// Whether the masked share runs from start_ratio to end_ratio rather than from all to nothing.
bool has_ratios(const Config& config) {
  return is_one_of(config.strategy, {"remask", "best"});
}

// Reveals never undone, one or more a step.
bool only_reveals(const Config& config) {
  return is_one_of(config.strategy, {"confidence", "random", "margin", "entropy", "maskgit"});
}

int64_t wrong_class(const Config& config) {
  return config.remasking_positive_class == "wrong" ? 1 : 0;
}

Remasking remasking_of(const Config& config) {
  Remasking remasking;
  if (config.strategy == "remdm") {
    const std::string& name = *config.remdm;
    using Kind = Remasking::Kind;
    remasking.kind = name == "cap"       ? Kind::cap
                     : name == "rescale" ? Kind::rescale
                     : name == "conf"    ? Kind::conf
                                         : Kind::loop;
    remasking.eta = *config.eta;
    remasking.t_on = config.t_on.value_or(remasking.t_on);
    remasking.t_off = config.t_off.value_or(remasking.t_off);
    remasking.alpha_on = config.alpha_on.value_or(remasking.alpha_on);
  }
  return remasking;
}

std::function<MaskSchedule(int64_t steps)> schedule_of(const Config& config) {
  if (config.schedule_type == "custom") {
    return [ratios = *config.masking_ratios](int64_t /*steps*/) { return MaskSchedule::custom(ratios); };
  }
  if (config.schedule_type == "cosine") {
    return [](int64_t steps) { return MaskSchedule::cosine(steps); };
  }
  const double start = config.start_ratio, end = config.end_ratio;
  if (config.schedule_type == "power") {
    return [start, end, power = *config.schedule_power](int64_t steps) {
      return MaskSchedule::power(steps, start, end, power);
    };
  }
  if (has_ratios(config)) {
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

Cost cost_of(const Config& config, const RevealPolicy& policy) {
  Cost cost;
  cost.step = config.cfg_scale > 0 ? 2 : 1;
  if (policy.has_own_model()) {
    cost.judging = 1;
  } else if (config.rescored_share.value_or(0) > 0) {
    cost.judging = cost.step;
    cost.judged_share = *config.rescored_share;
  } else if (policy.reads_logits(/*judged=*/true) &&
             config.confidence_source.value_or(config.strategy == "remask" ? "rescore" : "draw") == "rescore") {
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

int64_t iterations_of(const Config& config) {
  return config.schedule_type == "custom" ? static_cast<int64_t>(config.masking_ratios->size())
                                          : config.diffusion_iterations;
}

int64_t count_blocks(const Config& config, int64_t free) {
  return static_cast<int64_t>(block_sizes(free, config.block_length).size());
}

// Of a whole text in `blocks` blocks.
Pace pace_of(const Config& config, int64_t blocks) {
  Pace pace;
  pace.schedule = schedule_of(config);
  pace.block_length = config.block_length;
  pace.reveals_only = only_reveals(config);
  pace.keeps_drawing = config.strategy == "best";
  pace.steps = iterations_of(config) * (config.schedule_type == "custom" ? blocks : 1);  // each follows the whole list
  if (is_ancestral(config) && config.forwards) {
    pace.steps = *config.forwards / (config.cfg_scale > 0 ? 2 : 1);
  }
  return pace;
}

// Says which of the settings given have no use.
void notice_unused(const ParsedConfig& parsed, const RevealPolicy& policy) {
  const Config& config = parsed.config;
  const int64_t iterations = iterations_of(config);
  if (parsed.given.count("diffusion_iterations") == 0) {
    return;
  }
  if (config.diffusion_iterations != iterations) {
    notice(fmt::format("masking_ratios has {} ratios, so there are {} iterations, not diffusion_iterations={}.",
                       iterations, iterations, config.diffusion_iterations));
  }
  if (policy.decides_counts() && !is_ancestral(config) && !config.forwards) {
    notice(
        fmt::format("diffusion_iterations has no use with strategy='{}', which ends when all is filled; forwards "
                    "says how many to spend.",
                    config.strategy));
  }
}

// The plan that is the same for every sample with so many free positions.
Plan common_plan(const Config& config, const Cost& cost, bool decides_counts, int64_t free) {
  const int64_t blocks = count_blocks(config, free);
  const Pace pace = pace_of(config, blocks);
  const auto plan_for = [&](int64_t steps) {
    Pace paced = pace;
    paced.steps = steps;
    return decides_counts ? open_plan(paced, free) : scheduled_plan(paced, free);
  };
  if (config.forwards) {
    Plan plan = spend(*config.forwards, cost, blocks, plan_for);
    if (plan.empty()) {
      fail(ExitCode::bad_usage,
           "forwards={} cannot be spent exactly by strategy='{}' on {} positions to fill{}: {} a step{}{}. Choose "
           "another number.",
           *config.forwards, config.strategy, free, blocks > 1 ? fmt::format(" in {} blocks", blocks) : "", cost.step,
           cost.judging > 0 ? fmt::format(", {} more where it is judged", cost.judging) : "",
           only_reveals(config) || decides_counts ? ", and a step for each position at most" : "");
    }
    return plan;
  }
  Plan plan = plan_for(decides_counts ? free : pace.steps);
  if (cost.judging > 0) {
    // Of the forwards that they come to, those that judge are the share.
    const double steps = static_cast<double>(plan.size()), share = cost.judged_share;
    const double judged = share < 1 ? steps * share / (1 - share) : steps;
    plan = judge_last(std::move(plan), static_cast<int64_t>(judged));
  }
  return plan;
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

std::unique_ptr<RevealPolicy> make_policy(const Config& config, WatchedModel* remasking_model) {
  const std::string& name = config.strategy;
  if (name == "best") {
    return std::make_unique<InformativeRemasking>(
        InformativeOptions{*config.prior_weight, *config.new_token_bonus, *config.choice_temperature});
  }
  if (name == "confidence") {
    return std::make_unique<ConfidenceReveal>(*config.alg_temp);
  }
  if (name == "margin") {
    return std::make_unique<MarginReveal>(*config.alg_temp);
  }
  if (name == "entropy") {
    return std::make_unique<EntropyReveal>(*config.alg_temp);
  }
  if (name == "random") {
    return std::make_unique<RandomReveal>();
  }
  if (name == "maskgit") {
    return std::make_unique<MaskGitReveal>(*config.choice_temperature);
  }
  if (name == "threshold") {
    return std::make_unique<ThresholdReveal>(*config.threshold);
  }
  if (name == "factor") {
    return std::make_unique<FactorReveal>(*config.factor);
  }
  if (name == "entropy_bound") {
    return std::make_unique<EntropyBoundReveal>(*config.gamma);
  }
  if (name == "klass") {
    return std::make_unique<KlassReveal>(*config.conf_threshold, *config.kl_threshold, *config.kl_history);
  }
  if (is_ancestral(config)) {
    if (config.remdm == "conf") {
      return std::make_unique<ConfidentAncestralReveal>();
    }
    return std::make_unique<AncestralReveal>();
  }
  if (name == "planner") {
    return remasking_model == nullptr
               ? std::make_unique<PlannerReveal>(*config.eta)
               : std::make_unique<PlannerReveal>(*config.eta, *remasking_model, 1 - wrong_class(config));
  }
  if (remasking_model != nullptr) {
    return std::make_unique<RemaskingModelRemasking>(*remasking_model, wrong_class(config), config.randomness_strength);
  }
  if (config.intelligent_remasking) {
    return std::make_unique<SelfConfidenceRemasking>(config.randomness_strength);
  }
  return std::make_unique<RandomRemasking>();
}

int64_t planned_steps(const Config& config, int64_t free) {
  return pace_of(config, count_blocks(config, free)).steps;
}

void plan_strategy(const ParsedConfig& parsed, const RevealPolicy& policy, DiffusionOptions& options) {
  const Config& config = parsed.config;
  options.block_length = config.block_length;
  options.cfg_scale = config.cfg_scale;
  options.temperature_end = config.temperature_end;
  notice_unused(parsed, policy);
  const Cost cost = cost_of(config, policy);
  if (is_ancestral(config)) {
    if (config.forwards && *config.forwards % cost.step != 0) {
      fail(ExitCode::bad_usage, "forwards={}: with cfg_scale={} each step takes two; make it even.", *config.forwards,
           config.cfg_scale);
    }
    options.plan = [config](const Stream& stream, int64_t free) {
      return ancestral_plan(pace_of(config, count_blocks(config, free)), remasking_of(config), stream, free,
                            /*skips_idle=*/!config.forwards);
    };
    options.plan_per_sample = true;
    return;
  }
  options.spends_all = config.forwards && policy.decides_counts();
  const auto plans = std::make_shared<PlanCache>([config, cost, decides = policy.decides_counts()](int64_t free) {
    return common_plan(config, cost, decides, free);
  });
  options.plan = [plans](const Stream& /*stream*/, int64_t free) { return (*plans)(free); };
}

std::string describe_strategy(const Config& config) {
  const std::string& name = config.strategy;
  std::string text = name;
  const auto add = [&text](const char* key, const auto& value) {
    if (value) {
      text += fmt::format(", {} {}", key, *value);
    }
  };
  if (name == "remask") {
    text = config.remasking_checkpoint_name
               ? fmt::format("by {} (randomness {})", *config.remasking_checkpoint_name, config.randomness_strength)
           : config.intelligent_remasking
               ? fmt::format("by the model's own confidence (randomness {})", config.randomness_strength)
               : "random";
  } else if (config.remasking_checkpoint_name) {
    text += ", by " + *config.remasking_checkpoint_name;
  }
  add("kind", config.remdm);
  add("eta", config.eta);
  add("t_on", config.t_on);
  add("t_off", config.t_off);
  add("alpha_on", config.alpha_on);
  add("threshold", config.threshold);
  add("factor", config.factor);
  add("gamma", config.gamma);
  add("conf_threshold", config.conf_threshold);
  add("kl_threshold", config.kl_threshold);
  add("kl_history", config.kl_history);
  add("alg_temp", config.alg_temp);
  add("choice_temperature", config.choice_temperature);
  add("prior_weight", config.prior_weight);
  add("new_token_bonus", config.new_token_bonus);
  add("rescored share", config.rescored_share);
  add("confidence by", config.confidence_source);
  add("blocks of", config.block_length);
  if (config.cfg_scale > 0) {
    text += fmt::format(", cfg_scale {}", config.cfg_scale);
  }
  return text;
}

std::string describe_schedule(const Config& config, const RevealPolicy& policy, int64_t steps) {
  if (policy.ends_when_filled()) {
    return config.forwards ? fmt::format("{} iterations", steps)
                           : fmt::format("until all is filled, at most {} iterations", steps);
  }
  if (config.schedule_type == "custom") {
    return fmt::format("{} iterations, custom ratios", steps);
  }
  const bool ratios = has_ratios(config) && config.schedule_type != "cosine";
  return fmt::format("{} iterations, {}{}{}", steps, config.remdm == "loop" ? "looping" : config.schedule_type,
                     config.schedule_power ? fmt::format(" {}", *config.schedule_power) : "",
                     ratios ? fmt::format(" from {} to {}", config.start_ratio, config.end_ratio) : "");
}

}  // namespace demask
