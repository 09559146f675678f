#include "sampling/diffusion_sampler.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;
using demask::testing::FixedLogits;

namespace diffusion_sampler_test {
namespace {

constexpr int64_t mask = 3;

Template all_free(size_t length) {
  return {std::vector<int64_t>(length, mask), std::vector<bool>(length, false)};
}

DiffusionOptions options_for(MaskSchedule schedule, bool judged = false) {
  DiffusionOptions options;
  options.plan = plan_by(std::move(schedule), judged);
  options.mask_token_id = mask;
  options.forbidden = at::zeros({mask + 1});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  return options;
}

// Remembers how many positions were masked at the start of each step.
class MaskCounts : public Observer {
 public:
  void on_step(const StepView& view) override {
    counts.push_back(view.was_masked.sum().item<int64_t>());
    announced.push_back(view.masked_before);
  }
  std::vector<int64_t> counts, announced;
};

}  // namespace

TEST_CASE("Exactly the scheduled number of positions is masked again, over a whole batch") {
  FixedLogits fake(at::zeros({10, 4}));
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionSampler sampler(model, *policy, options_for(MaskSchedule::custom({1.0, 0.75, 0.33, 0.0, 0.5})));
  MaskCounts counts;
  const std::vector<DrawnSample> samples = sampler.sample(consecutive({1337, 0}, 3, all_free(10)), &counts);
  CHECK(counts.counts == std::vector<int64_t>{30, 21, 9, 0, 15});
  CHECK(counts.announced == counts.counts);
  REQUIRE(samples.size() == 3);
  for (const DrawnSample& sample : samples) {
    for (const int64_t token : sample.tokens) {
      CHECK(token < mask);
    }
  }
}

TEST_CASE("Fixed positions keep their tokens in every forward and in the end") {
  FixedLogits fake(at::zeros({4, 4}));
  CheckedModel model(fake, "fake");
  const auto policy = testing::self_confidence(0.5);
  DiffusionSampler sampler(model, *policy, options_for(MaskSchedule::linear(4, 0.9, 0.1), /*judged=*/true));
  const Template text{{2, mask, 1, mask}, {true, false, true, false}};
  const std::vector<DrawnSample> samples = sampler.sample(consecutive({1337, 0}, 2, text), nullptr);
  for (const at::Tensor& tokens : fake.seen) {
    CHECK((tokens.select(1, 0) == 2).all().item<bool>());
    CHECK((tokens.select(1, 2) == 1).all().item<bool>());
  }
  CHECK(samples[1].tokens[0] == 2);
  CHECK(samples[1].tokens[2] == 1);
}

TEST_CASE(
    "Random remasking costs one forward an iteration, self-confidence two but for those that mask nothing again") {
  FixedLogits fake(at::zeros({8, 4}));
  CheckedModel model(fake, "fake");
  const auto random = testing::random_remasking();
  DiffusionSampler by_chance(model, *random, options_for(MaskSchedule::linear(5, 0.9, 0.2)));
  by_chance.sample(consecutive({1337, 0}, 2, all_free(8)), nullptr);
  CHECK(by_chance.forwards() == 5 + 1);  // and one for the self-confidence
  CHECK(fake.seen.size() == 5 + 1);
  fake.seen.clear();
  const auto confident = testing::self_confidence(0.0);
  DiffusionSampler by_confidence(model, *confident, options_for(MaskSchedule::linear(5, 0.9, 0.2), /*judged=*/true));
  by_confidence.sample(consecutive({1337, 0}, 2, all_free(8)), nullptr);
  CHECK(by_confidence.forwards() == 5 + 4 + 1);
  CHECK(fake.seen.size() == 5 + 4 + 1);
}

TEST_CASE("Self-confidence is the mean log probability over every output, the mask's too") {
  FixedLogits fake(at::zeros({6, 4}));
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  const std::vector<DrawnSample> samples = DiffusionSampler(model, *policy, options_for(MaskSchedule::linear(1, 1, 0)))
                                               .sample(consecutive({1337, 0}, 1, all_free(6)), nullptr);
  CHECK(samples[0].self_confidence == Catch::Approx(std::log(0.25)));
}

TEST_CASE("A sample does not depend on its batch or on where a run starts") {
  FixedLogits fake(at::arange(40, at::kFloat).view({10, 4}).sin());
  CheckedModel model(fake, "fake");
  const auto policy = testing::self_confidence(0.4);
  DiffusionSampler sampler(model, *policy, options_for(MaskSchedule::linear(6, 0.9, 0.1), /*judged=*/true));
  const std::vector<DrawnSample> eight = sampler.sample(consecutive({1337, 0}, 8, all_free(10)), nullptr);
  const std::vector<DrawnSample> alone = sampler.sample(consecutive({1337, 5}, 1, all_free(10)), nullptr);
  CHECK(alone[0].index == 5);
  CHECK(alone[0].tokens == eight[5].tokens);
  CHECK(eight[4].tokens != eight[5].tokens);
}

TEST_CASE("Logits that are not finite fail the batch; a single -infinity is a model's right") {
  const auto policy = testing::random_remasking();
  const auto sample_with = [&](float value) {
    at::Tensor logits = at::zeros({6, 4});
    logits[2][1] = value;
    FixedLogits fake(logits);
    CheckedModel model(fake, "broken.pt");
    DiffusionSampler(model, *policy, options_for(MaskSchedule::linear(2, 1, 0)))
        .sample(consecutive({1337, 0}, 1, all_free(6)), nullptr);
  };
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(sample_with(std::nanf("")), Error);
  CHECK_THROWS_AS(sample_with(infinity), Error);
  CHECK_NOTHROW(sample_with(-infinity));
}

TEST_CASE("A temperature that ends near zero takes the likeliest token there") {
  // One token in every step but the last: what the last step draws is nearly greedy.
  class Last : public Observer {
   public:
    void on_step(const StepView& view) override {
      if (view.step + 1 == view.steps) {
        greedy = ((view.filled == view.logits.narrow(2, 0, mask).argmax(-1)) | view.was_masked.logical_not())
                     .all()
                     .item<bool>();
        drawn = view.was_masked.sum().item<int64_t>();
      }
    }
    bool greedy = false;
    int64_t drawn = 0;
  } last;
  FixedLogits fake(at::arange(24 * (mask + 1), at::kFloat).mul(1.7).sin().mul(15).view({24, mask + 1}));
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionOptions options = options_for(MaskSchedule::linear(4, 0.9, 0.5));
  options.draw.filters.temperature = 5;  // so that earlier steps are not greedy
  options.temperature_end = 1e-6;
  DiffusionSampler(model, *policy, options).sample(consecutive({1337, 0}, 20, all_free(24)), &last);
  CHECK(last.drawn == 20 * 12);
  CHECK(last.greedy);
}

TEST_CASE("Guidance extrapolates from the logits without the prompt, for two forwards a step") {
  // Logits that depend on whether position 0 is visible: with the prompt token 1 gains 1, token 2 loses 1.
  class Prompted : public FixedLogits {
   public:
    Prompted() : FixedLogits(at::zeros({4, mask + 1})) {}
    at::Tensor logits(const at::Tensor& tokens) override {
      const at::Tensor prompted = (tokens.select(1, 0) != mask).to(at::kFloat).view({-1, 1, 1});
      at::Tensor shift = at::zeros({mask + 1});
      shift[1] = 1;
      shift[2] = -1;
      return FixedLogits::logits(tokens) + prompted * shift;
    }
  } fake;
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionOptions options = options_for(MaskSchedule::linear(2, 0.5, 0.5));
  options.cfg_scale = 2;
  class Look : public Observer {
   public:
    void on_step(const StepView& view) override { logits = view.logits.clone(); }
    at::Tensor logits;
  } look;
  DiffusionSampler sampler(model, *policy, options);
  Template text{{1, mask, mask, mask}, {true, false, false, false}};
  sampler.sample(consecutive({1337, 0}, 2, text), &look);
  CHECK(sampler.forwards() == 2 * 2 + 1);
  CHECK(look.logits[1][2][1].item<float>() == Catch::Approx(3));
  CHECK(look.logits[1][2][2].item<float>() == Catch::Approx(-3));
  CHECK(look.logits[1][2][3].item<float>() == Catch::Approx(0));
}

}  // namespace diffusion_sampler_test
