#include "sampling/plan.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/paces.h"

using namespace demask;
using demask::testing::even_pace;

namespace {

std::vector<int64_t> masked(const Plan& plan) {
  std::vector<int64_t> counts;
  for (const PlannedStep& step : plan) {
    counts.push_back(step.masked);
  }
  return counts;
}

std::vector<int64_t> blocks(const Plan& plan) {
  std::vector<int64_t> numbers;
  for (const PlannedStep& step : plan) {
    numbers.push_back(step.block);
  }
  return numbers;
}

}  // namespace

TEST_CASE("An even schedule reveals as many each step, the first ones taking what does not divide") {
  CHECK(masked(scheduled_plan(even_pace(4), 10)) == std::vector<int64_t>{7, 4, 2, 0});  // 3, 3, 2, 2
  CHECK(masked(scheduled_plan(even_pace(5), 10)) == std::vector<int64_t>{8, 6, 4, 2, 0});
  CHECK(masked(scheduled_plan(even_pace(1), 10)) == std::vector<int64_t>{0});
}

TEST_CASE("Where nothing comes back there are no more steps than positions, and each reveals one or more") {
  CHECK(masked(scheduled_plan(even_pace(50), 3)) == std::vector<int64_t>{2, 1, 0});
  Pace cosine = even_pace(8);
  cosine.schedule = [](int64_t count) { return MaskSchedule::cosine(count); };
  // floor(10 * cos(pi / 2 * k / 8)) for k = 1 .. 8: 9, 9, 8, 7, 5, 3, 1, 0; the second must reveal one.
  CHECK(masked(scheduled_plan(cosine, 10)) == std::vector<int64_t>{9, 8, 7, 6, 5, 3, 1, 0});
  cosine.reveals_only = false;
  CHECK(masked(scheduled_plan(cosine, 10)) == std::vector<int64_t>{9, 9, 8, 7, 5, 3, 1, 0});
}

TEST_CASE("A power schedule runs from its start to its end, and with power 1 it is linear") {
  const MaskSchedule square = MaskSchedule::power(5, 0.9, 0.1, 2);
  // 0.1 + 0.8 * (1 - k / 4)^2 for k = 1 .. 3, then nothing.
  CHECK(square.remask_ratio(0) == Catch::Approx(0.55));
  CHECK(square.remask_ratio(1) == Catch::Approx(0.3));
  CHECK(square.remask_ratio(2) == Catch::Approx(0.15));
  CHECK(square.remask_ratio(3) == Catch::Approx(0.1));
  CHECK(square.remask_ratio(4) == 0);
  const MaskSchedule one = MaskSchedule::power(5, 0.9, 0.1, 1), linear = MaskSchedule::linear(5, 0.9, 0.1);
  for (int64_t i = 0; i < 5; ++i) {
    CHECK(one.remask_ratio(i) == Catch::Approx(linear.remask_ratio(i)));
  }
}

TEST_CASE("Blocks share the steps and are filled one after the other") {
  const Plan plan = scheduled_plan(even_pace(5, 4), 10);  // blocks of 4, 4 and 2 positions; 2, 2 and 1 steps
  CHECK(blocks(plan) == std::vector<int64_t>{0, 0, 1, 1, 2});
  CHECK(masked(plan) == std::vector<int64_t>{2, 0, 2, 0, 0});
  CHECK_THROWS_AS(scheduled_plan(even_pace(2, 4), 10), Error);
}

TEST_CASE("A short block's spare steps go to the others, and none is planned beyond the positions") {
  CHECK(steps_of_blocks(9, {4, 4, 1}, /*one_each=*/true) == std::vector<int64_t>{4, 4, 1});
  CHECK(steps_of_blocks(7, {4, 4, 1}, true) == std::vector<int64_t>{4, 2, 1});
  CHECK(steps_of_blocks(50, {4, 4, 1}, true) == std::vector<int64_t>{4, 4, 1});
  CHECK(steps_of_blocks(9, {4, 4, 1}, false) == std::vector<int64_t>{3, 3, 3});
}

TEST_CASE("A pace that keeps drawing leaves something masked until a block's last step") {
  Pace pace = even_pace(4, 8);
  pace.reveals_only = false;
  pace.schedule = [](int64_t count) { return MaskSchedule::linear(count, 0.9, 0.05); };
  CHECK(masked(scheduled_plan(pace, 16)) == std::vector<int64_t>{0, 0, 0, 0});  // floor(8 * 0.05)
  pace.keeps_drawing = true;
  CHECK(masked(scheduled_plan(pace, 16)) == std::vector<int64_t>{1, 0, 1, 0});
}

TEST_CASE("A plan drawn in parts draws each position so often, and lets no more wait than stays masked") {
  for (const int64_t steps : {4, 32, 200}) {
    Pace pace;
    pace.steps = steps;
    pace.schedule = [](int64_t count) { return MaskSchedule::power(count, 0.95, 0.04, 2.6); };
    pace.keeps_drawing = true;
    const Plan whole = scheduled_plan(pace, 256);
    const Plan parts = draw_in_parts(whole, {256}, [](int64_t) { return 5.0; });
    CAPTURE(steps);
    REQUIRE(parts.size() == whole.size());
    double drawn = 0;
    int64_t masked = 256;
    for (const PlannedStep& step : parts) {
      const auto part = static_cast<int64_t>(std::floor(static_cast<double>(masked) * step.draw_share));
      CHECK(masked - part <= step.masked);
      drawn += static_cast<double>(masked) * step.draw_share;
      masked = step.masked;
    }
    CHECK(parts.back().draw_share == 1);
    // The last step draws all 10 that are left, and a few steps need a little more than their even share.
    CHECK(drawn / 256 <= 5.3);
    CHECK(drawn / 256 >= (steps == 4 ? 1.0 : 4.9));
  }
}

TEST_CASE("Noise falls as a power of what is left of each block, to none, and is scaled by the block's own steps") {
  const Plan plan =
      fade_noise(scheduled_plan(even_pace(6, 4), 8), 2, [](int64_t steps) { return steps == 3 ? 30.0 : 1.0; });
  std::vector<double> weights;
  for (const PlannedStep& step : plan) {
    weights.push_back(step.noise_scale * step.noise_left);
  }
  // Two blocks of 3 steps each: 2/3, 1/3 and 0 are left.
  REQUIRE(weights.size() == 6);
  for (const size_t first : {0U, 3U}) {
    CHECK(weights[first] == Catch::Approx(30 * 4 / 9.0));
    CHECK(weights[first + 1] == Catch::Approx(30 / 9.0));
    CHECK(weights[first + 2] == 0);
  }
}

TEST_CASE("An open plan counts the steps that a block has left") {
  CHECK(masked(open_plan(even_pace(5, 4), 10)) == std::vector<int64_t>{1, 0, 1, 0, 0});
  CHECK(masked(open_plan(even_pace(50), 3)) == std::vector<int64_t>{2, 1, 0});
}

TEST_CASE("One block as long as the text is no blocks") {
  for (const int64_t length : {10, 11, 1000}) {
    CHECK(masked(scheduled_plan(even_pace(4, length), 10)) == masked(scheduled_plan(even_pace(4), 10)));
    CHECK(blocks(scheduled_plan(even_pace(4, length), 10)) == std::vector<int64_t>(4, 0));
  }
}

TEST_CASE("A binomial number is the first whose cumulative probability exceeds the uniform") {
  const auto at = [](double u) { return [u](int64_t /*chunk*/) { return u; }; };
  // Binomial(3, 1/4): 27/64, 54/64, 63/64, 1.
  CHECK(binomial(3, 0.25, at(0.42)) == 0);
  CHECK(binomial(3, 0.25, at(0.43)) == 1);
  CHECK(binomial(3, 0.25, at(0.85)) == 2);
  CHECK(binomial(3, 0.25, at(0.99)) == 3);
  CHECK(binomial(0, 0.25, at(0.5)) == 0);
  CHECK(binomial(7, 0, at(0.999)) == 0);
  CHECK(binomial(7, 1, at(0.001)) == 7);
  // Above a half through its complement.
  CHECK(binomial(3, 0.75, at(0.42)) == 3);
  CHECK(binomial(3, 0.75, at(0.99)) == 0);
}

TEST_CASE("Ancestral plans reveal every position once, with the chances of the reverse process") {
  // Positions are independent and each step reveals a tenth of them on average: over 2000 samples of 40 positions the
  // mean of the first step's count is 4 with a standard error of sqrt(40 * 0.1 * 0.9 / 2000) = 0.042.
  double first = 0, last = 0;
  for (int64_t sample = 0; sample < 2000; ++sample) {
    const Plan plan = ancestral_plan(even_pace(10), {}, {1337, sample}, 40, /*skips_idle=*/false);
    REQUIRE(plan.size() == 10);
    CHECK(plan.back().masked == 0);
    for (size_t i = 1; i < plan.size(); ++i) {
      REQUIRE(plan[i].masked <= plan[i - 1].masked);
    }
    first += static_cast<double>(40 - plan[0].masked) / 2000;
    last += static_cast<double>(plan[8].masked) / 2000;
  }
  CHECK(std::abs(first - 4) < 4 * 0.042);
  CHECK(std::abs(last - 4) < 4 * 0.042);
}

TEST_CASE("Steps that reveal nothing are left out, and nothing else changes") {
  for (int64_t sample = 0; sample < 50; ++sample) {
    const Plan all = ancestral_plan(even_pace(64), {}, {7, sample}, 20, /*skips_idle=*/false);
    const Plan some = ancestral_plan(even_pace(64), {}, {7, sample}, 20, /*skips_idle=*/true);
    std::vector<int64_t> changes;
    int64_t before = 20;
    for (const int64_t after : masked(all)) {
      if (after != before) {
        changes.push_back(after);
      }
      before = after;
    }
    CHECK(masked(some) == changes);
    CHECK(some.size() <= 20);
    CHECK(some.back().masked == 0);
  }
}

TEST_CASE("ReMDM with sigma 0 plans as ancestral sampling does, and with more masks tokens again") {
  Remasking none, cap;
  cap.kind = Remasking::Kind::cap;
  bool remasks = false;
  for (int64_t sample = 0; sample < 20; ++sample) {
    cap.eta = 0;
    CHECK(masked(ancestral_plan(even_pace(16), cap, {7, sample}, 64, false)) ==
          masked(ancestral_plan(even_pace(16), none, {7, sample}, 64, false)));
    cap.eta = 0.1;
    const Plan plan = ancestral_plan(even_pace(16), cap, {7, sample}, 64, false);
    for (size_t i = 0; i < plan.size(); ++i) {
      const int64_t visible = 64 - (i == 0 ? 64 : plan[i - 1].masked);
      CHECK(plan[i].remasked <= visible);
      remasks = remasks || plan[i].remasked > 0;
    }
    CHECK(plan.back().masked == 0);
  }
  CHECK(remasks);
}

TEST_CASE("ReMDM's chances are those of its formulas") {
  // Linear, 4 steps: a_t 0, 1/4, 1/2, 3/4 and a_s a quarter more. sigma_max = min(1, (1 - a_s) / a_t).
  Remasking remasking;
  remasking.eta = 0.3;
  const auto chances = [&](Remasking::Kind kind, size_t i) {
    remasking.kind = kind;
    return ancestral_plan(even_pace(4), remasking, {7, 0}, 64, false)[i];
  };
  using Kind = Remasking::Kind;
  // Second step: sigma_max = min(1, 0.5 / 0.25) = 1. cap: 0.3. Revealed: (0.5 - 0.7 * 0.25) / 0.75.
  CHECK(chances(Kind::cap, 1).remask_chance == Catch::Approx(0.3));
  CHECK(chances(Kind::cap, 1).reveal_chance == Catch::Approx((0.5 - 0.7 * 0.25) / 0.75));
  // Third: sigma_max = 0.25 / 0.5 = 0.5. cap: 0.3; rescale: 0.15.
  CHECK(chances(Kind::cap, 2).remask_chance == Catch::Approx(0.3));
  CHECK(chances(Kind::rescale, 2).remask_chance == Catch::Approx(0.15));
  CHECK(chances(Kind::rescale, 2).reveal_chance == Catch::Approx((0.75 - 0.85 * 0.5) / 0.5));
  CHECK(chances(Kind::conf, 2).remask_chance == Catch::Approx(0.15));
  CHECK(chances(Kind::conf, 2).reveal_chance == Catch::Approx(0.5));
  // Last: everything is revealed and sigma_max is 0.
  CHECK(chances(Kind::cap, 3).remask_chance == 0);
  CHECK(chances(Kind::cap, 3).reveal_chance == 1);
}

TEST_CASE("ReMDM's loop raises the visible share, holds it while it masks again, and then fills") {
  Remasking loop;
  loop.kind = Remasking::Kind::loop;
  loop.eta = 0.05;
  loop.t_on = 0.5;
  loop.t_off = 0.25;
  loop.alpha_on = 0.8;
  const Plan plan = ancestral_plan(even_pace(8), loop, {7, 0}, 64, false);
  // Times 1, 7/8 .. 5/8 come before the loop: the share rises by 0.8 / 4 a step.
  CHECK(plan[0].reveal_chance == Catch::Approx(0.2));
  CHECK(plan[1].reveal_chance == Catch::Approx(0.2 / 0.8));
  CHECK(plan[3].remask_chance == 0);
  // 4/8 and 3/8 are in it: 0.8 visible, of which 0.05 go and as many come back.
  CHECK(plan[4].remask_chance == Catch::Approx(0.05));
  CHECK(plan[4].reveal_chance == Catch::Approx(0.05 * 0.8 / 0.2));
  // 2/8 and 1/8 fill the rest.
  CHECK(plan[6].remask_chance == 0);
  CHECK(plan[6].reveal_chance == Catch::Approx(0.5));
  CHECK(plan[7].reveal_chance == Catch::Approx(1.0));
}
