// Whole chains under each strategy: they end without a mask, spend what they promised, and at a degenerate setting
// equal one another.
#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "sampling/diffusion_sampler.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"
#include "tests/unit/sampling/paces.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;
using demask::testing::even_pace;
using demask::testing::FixedLogits;

namespace chains_test {
namespace {

constexpr int64_t mask = 5;
constexpr int64_t length = 24;

// Some positions are sure, some are not.
at::Tensor some_logits() {
  return at::arange(length * (mask + 1), at::kFloat).mul(1.7).sin().mul(15).view({length, mask + 1});
}

Template text_with_fixed(const std::vector<int64_t>& fixed) {
  Template text{std::vector<int64_t>(length, mask), std::vector<bool>(length, false)};
  for (const int64_t position : fixed) {
    text.tokens[static_cast<size_t>(position)] = 1;
    text.fixed[static_cast<size_t>(position)] = true;
  }
  return text;
}

DiffusionOptions options_for(std::optional<int64_t> block_length = {}) {
  DiffusionOptions options;
  options.mask_token_id = mask;
  options.block_length = block_length;
  options.draw.filters.temperature = 5;  // so that samples differ, however sure the model is
  options.forbidden = at::zeros({mask + 1});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  return options;
}

DiffusionOptions scheduled(int64_t steps, bool reveals_only = true, std::optional<int64_t> block_length = {}) {
  DiffusionOptions options = options_for(block_length);
  options.plan = [pace = even_pace(steps, block_length, reveals_only)](const Stream& /*stream*/, int64_t free) {
    return scheduled_plan(pace, free);
  };
  return options;
}

// Every step is.
DiffusionOptions judged(DiffusionOptions options) {
  options.plan = [plan = options.plan](const Stream& stream, int64_t free) {
    Plan steps = plan(stream, free);
    for (PlannedStep& step : steps) {
      step.judged = true;
    }
    return steps;
  };
  return options;
}

DiffusionOptions ancestral(int64_t steps, const Remasking& remasking = {}) {
  DiffusionOptions options = options_for();
  options.plan_per_sample = true;
  options.plan = [pace = even_pace(steps, {}, /*reveals_only=*/false), remasking](const Stream& stream, int64_t free) {
    return ancestral_plan(pace, remasking, stream, free, /*skips_idle=*/true);
  };
  return options;
}

// For policies that decide: at most so many steps.
DiffusionOptions open_ended(int64_t steps, std::optional<int64_t> block_length = {}) {
  DiffusionOptions options = options_for(block_length);
  options.plan = [pace = even_pace(steps, block_length)](const Stream& /*stream*/, int64_t free) {
    return open_plan(pace, free);
  };
  return options;
}

struct Outcome {
  std::vector<std::vector<int64_t>> texts;
  int64_t forwards = 0;  // of the steps
};

Outcome run(RevealPolicy& policy, const DiffusionOptions& options, const Template& text = text_with_fixed({}),
            int64_t samples = 3) {
  FixedLogits fake(some_logits());
  CheckedModel model(fake, "fake");
  DiffusionSampler sampler(model, policy, options);
  Outcome outcome;
  for (const DrawnSample& sample : sampler.sample(consecutive({1337, 0}, samples, text), nullptr)) {
    outcome.texts.push_back(sample.tokens);
  }
  outcome.forwards = sampler.forwards() - 1;
  return outcome;
}

bool has_mask(const Outcome& outcome) {
  for (const auto& text : outcome.texts) {
    for (const int64_t token : text) {
      if (token == mask) {
        return true;
      }
    }
  }
  return false;
}

struct Named {
  std::string name;
  std::function<std::unique_ptr<RevealPolicy>()> make;
};

std::vector<Named> revealing() {
  return {{"confidence", [] { return testing::confidence(0.0); }},
          {"confidence with noise", [] { return testing::confidence(0.5); }},
          {"margin", [] { return testing::margin(0.0); }},
          {"entropy", [] { return testing::entropy(0.0); }},
          {"random", [] { return testing::policy_of("random"); }},
          {"left to right", [] { return testing::policy_of("left_to_right"); }},
          {"maskgit", [] { return testing::maskgit(4.5); }}};
}

std::vector<Named> remasking() {
  return {{"random remasking", [] { return testing::random_remasking(); }},
          {"self-confidence", [] { return testing::self_confidence(0.4); }},
          {"planner", [] { return testing::planner(1.0); }},
          {"best", [] { return testing::best(1, 0.6, 2.4); }}};
}

std::vector<Named> adaptive() {
  return {{"threshold", [] { return testing::threshold(0.9); }},
          {"factor", [] { return testing::factor(0.8); }},
          {"entropy_bound", [] { return testing::entropy_bound(0.2); }},
          {"klass", [] { return testing::klass(0.9, 0.01, 2); }}};
}

}  // namespace

TEST_CASE("A strategy on a schedule ends without a mask after exactly its steps, blocks or not, judged or not") {
  for (const bool reveals_only : {true, false}) {
    for (const Named& strategy : reveals_only ? revealing() : remasking()) {
      for (const std::optional<int64_t> block_length : {std::optional<int64_t>(), std::optional<int64_t>(7)}) {
        for (const bool is_judged : {false, true}) {
          CAPTURE(strategy.name, block_length.value_or(0), is_judged);
          DiffusionOptions options = scheduled(9, reveals_only, block_length);
          if (is_judged) {
            options = judged(options);
          }
          const std::unique_ptr<RevealPolicy> policy = strategy.make();
          const Outcome outcome = run(*policy, options);
          CHECK_FALSE(has_mask(outcome));
          // The last step of a block chooses nothing; three blocks of 7 and one of 3 make four of them.
          CHECK(outcome.forwards == (is_judged ? 9 + 9 - (block_length ? 4 : 1) : 9));
        }
      }
    }
  }
}

TEST_CASE("Ancestral strategies end without a mask; a batch takes the longest of its samples' plans") {
  Remasking cap, conf;
  cap.kind = Remasking::Kind::cap;
  cap.eta = 0.1;
  conf.kind = Remasking::Kind::conf;
  conf.eta = 1;
  for (const Remasking& remasking_kind : {Remasking{}, cap}) {
    AncestralReveal policy;
    const DiffusionOptions options = ancestral(40, remasking_kind);
    size_t longest = 0;
    for (int64_t sample = 0; sample < 3; ++sample) {
      longest = std::max(longest, options.plan({1337, sample}, length).size());
    }
    const Outcome outcome = run(policy, options);
    CHECK_FALSE(has_mask(outcome));
    CHECK(outcome.forwards == static_cast<int64_t>(longest));
    CHECK(outcome.forwards < 40);  // 24 positions cannot fill 40 steps
  }
  const auto policy = testing::confident_ancestral();
  const Outcome outcome = run(*policy, ancestral(40, conf));
  CHECK_FALSE(has_mask(outcome));
  CHECK(outcome.forwards == 40);
}

TEST_CASE("A strategy that decides ends when nothing is masked, in fewer steps than positions, blocks or not") {
  for (const Named& strategy : adaptive()) {
    for (const std::optional<int64_t> block_length : {std::optional<int64_t>(), std::optional<int64_t>(7)}) {
      CAPTURE(strategy.name, block_length.value_or(0));
      const std::unique_ptr<RevealPolicy> policy = strategy.make();
      const Outcome outcome = run(*policy, open_ended(length, block_length));
      CHECK_FALSE(has_mask(outcome));
      CHECK(outcome.forwards < length);
      CHECK(outcome.forwards >= (block_length ? 4 : 1));
    }
  }
}

TEST_CASE("A strategy that decides spends exactly what it is given") {
  for (const Named& strategy : adaptive()) {
    for (const int64_t forwards : {int64_t{1}, int64_t{5}, int64_t{13}, length}) {
      CAPTURE(strategy.name, forwards);
      for (const std::optional<int64_t> block_length : {std::optional<int64_t>(), std::optional<int64_t>(7)}) {
        if (block_length && forwards < 4) {
          continue;  // there are four blocks
        }
        const std::unique_ptr<RevealPolicy> policy = strategy.make();
        DiffusionOptions options = open_ended(forwards, block_length);
        options.spends_all = true;
        const Outcome outcome = run(*policy, options);
        CHECK_FALSE(has_mask(outcome));
        CHECK(outcome.forwards == forwards);
      }
    }
  }
}

TEST_CASE("Thresholds at their ends are one step, and a position a step") {
  const auto all = testing::threshold(0);
  const auto none = testing::threshold(1);
  CHECK(run(*all, open_ended(length)).forwards == 1);
  CHECK(run(*none, open_ended(length)).forwards == length);
  const auto no_doubt = testing::factor(0);
  CHECK(run(*no_doubt, open_ended(length)).forwards == length);
  const auto everything = testing::entropy_bound(1e6);
  CHECK(run(*everything, open_ended(length)).forwards == 1);
}

TEST_CASE("A threshold that nothing reaches reveals as confidence does, one a step") {
  const auto none = testing::threshold(1);
  const auto confidence = testing::confidence(0);
  CHECK(run(*none, open_ended(length)).texts == run(*confidence, scheduled(length)).texts);
}

TEST_CASE("ReMDM with sigma 0 is ancestral sampling; a planner that never gives up a token is confidence") {
  Remasking cap;
  cap.kind = Remasking::Kind::cap;
  AncestralReveal policy;
  CHECK(run(policy, ancestral(12, cap)).texts == run(policy, ancestral(12)).texts);
  const auto planner = testing::planner(0);
  const auto confidence = testing::confidence(0);
  CHECK(run(*planner, scheduled(8)).texts == run(*confidence, scheduled(8)).texts);
}

TEST_CASE("One block as long as the text is no blocks, under every strategy") {
  for (const Named& strategy : revealing()) {
    CAPTURE(strategy.name);
    const std::unique_ptr<RevealPolicy> one = strategy.make(), other = strategy.make();
    CHECK(run(*one, scheduled(8, true, length)).texts == run(*other, scheduled(8)).texts);
  }
  for (const Named& strategy : adaptive()) {
    CAPTURE(strategy.name);
    const std::unique_ptr<RevealPolicy> one = strategy.make(), other = strategy.make();
    CHECK(run(*one, open_ended(length, length)).texts == run(*other, open_ended(length)).texts);
  }
}

TEST_CASE("Blocks are filled from the left: no later one is touched before an earlier one is done") {
  class Watcher : public Observer {
   public:
    void on_step(const StepView& view) override { masked.push_back((view.after == mask).clone()); }
    std::vector<at::Tensor> masked;
  };
  const Template text = text_with_fixed({0, 1, 9});  // 21 free positions: blocks of 8, 8 and 5
  for (const bool decides : {false, true}) {
    FixedLogits fake(some_logits());
    CheckedModel model(fake, "fake");
    const auto confidence = testing::confidence(0);
    const auto bound = testing::entropy_bound(0.3);
    DiffusionSampler sampler(model, decides ? static_cast<RevealPolicy&>(*bound) : *confidence,
                             decides ? open_ended(length, 8) : scheduled(9, true, 8));
    Watcher watcher;
    sampler.sample(consecutive({1337, 0}, 2, text), &watcher);
    const auto left_in = [&](const at::Tensor& masked, int64_t sample, int64_t first, int64_t end) {
      return masked[sample].narrow(0, first, end - first).sum().item<int64_t>();
    };
    for (const at::Tensor& masked : watcher.masked) {
      for (int64_t sample = 0; sample < 2; ++sample) {
        // Free positions 2 .. 8 and 10 are the first block, 11 .. 18 the second, 19 .. 23 the third.
        const int64_t first = left_in(masked, sample, 2, 11), second = left_in(masked, sample, 11, 19);
        const int64_t third = left_in(masked, sample, 19, 24);
        CHECK((first == 0 || (second == 8 && third == 5)));
        CHECK((second == 0 || third == 5));
        CHECK(left_in(masked, sample, 0, 2) + left_in(masked, sample, 9, 10) == 0);
      }
    }
  }
}

TEST_CASE("A sample does not depend on its batch, under every strategy") {
  const auto alone_and_together = [](const Named& strategy, const DiffusionOptions& options) {
    CAPTURE(strategy.name);
    FixedLogits fake(some_logits());
    CheckedModel model(fake, "fake");
    const std::unique_ptr<RevealPolicy> policy = strategy.make();
    DiffusionSampler sampler(model, *policy, options);
    const std::vector<DrawnSample> together = sampler.sample(consecutive({1337, 0}, 6, text_with_fixed({3})), nullptr);
    const std::vector<DrawnSample> alone = sampler.sample(consecutive({1337, 4}, 1, text_with_fixed({3})), nullptr);
    CHECK(alone[0].tokens == together[4].tokens);
    CHECK(std::any_of(together.begin(), together.end(),
                      [&](const DrawnSample& other) { return other.tokens != alone[0].tokens; }));
    // Nor on texts beside it with other prompts, other numbers of free positions and other seeds.
    std::vector<int64_t> nearly_all(length - 2);
    std::iota(nearly_all.begin(), nearly_all.end(), 1);
    const std::vector<Template> texts = {text_with_fixed({0, 1, 2}), text_with_fixed({}), text_with_fixed(nearly_all),
                                         text_with_fixed({3, 9, 10, 11, 23})};
    std::vector<DiffusionTask> tasks;
    for (size_t k = 0; k < texts.size(); ++k) {
      tasks.push_back({{7 + k % 2, static_cast<int64_t>(5 * k)}, &texts[k]});
    }
    const std::vector<DrawnSample> mixed = sampler.sample(tasks, nullptr);
    for (size_t k = 0; k < texts.size(); ++k) {
      CAPTURE(k);
      CHECK(mixed[k].tokens == sampler.sample({tasks[k]}, nullptr)[0].tokens);
      CHECK(std::count(mixed[k].tokens.begin(), mixed[k].tokens.end(), mask) == 0);
    }
  };
  DiffusionOptions cooling = scheduled(7);
  cooling.temperature_end = 0.2;
  for (const Named& strategy : revealing()) {
    alone_and_together(strategy, cooling);
  }
  for (const Named& strategy : remasking()) {
    alone_and_together(strategy, scheduled(7, false));
    alone_and_together(strategy, judged(scheduled(7, false)));
  }
  DiffusionOptions open_cooling = open_ended(length);
  open_cooling.temperature_end = 0.2;
  for (const Named& strategy : adaptive()) {
    alone_and_together(strategy, open_cooling);
  }
  alone_and_together({"ancestral", [] { return std::make_unique<AncestralReveal>(); }}, ancestral(40));
}

}  // namespace chains_test
