// demask's CUDA kernels against LibTorch's operations on the same numbers, in float32 so that both round alike.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/confidence.h"
#include "sampling/reveal_policy.h"
#include "sampling/step_tracer.h"
#include "sampling/strategies/adaptive.h"
#include "sampling/token_draw.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;

namespace {

bool kernels_here() {
  return kernels::cuda::built() && cuda_device_count() > 0;
}

at::Tensor flag(at::Device device) {
  return at::zeros({}, at::device(device).dtype(at::kBool));
}

// Logits of a plausible spread, some of them equal, some excluded.
at::Tensor some_logits(int64_t rows, int64_t outputs) {
  at::manual_seed(1337);
  at::Tensor logits = at::randn({rows, outputs}).mul(3).mul(8).round().div(8);
  logits = logits.masked_fill(at::rand({rows, outputs}) < 0.02, -std::numeric_limits<double>::infinity());
  logits.select(1, 0).zero_();  // no row without a possible token
  return logits;
}

}  // namespace

TEST_CASE("The drawing kernel draws what LibTorch's operations draw, whatever the filters and the vocabulary") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {2, 66, 130, 256, 1000, 50257, 50304, 126464, 151936}) {
    const int64_t rows = outputs > 100000 ? 16 : outputs > 1000 ? 64 : 4096;
    const at::Tensor logits = some_logits(rows, outputs), uniforms = at::rand({rows}).clamp(1e-6, 1 - 1e-6);
    at::Tensor forbidden = at::zeros({outputs});
    forbidden[outputs - 1] = -std::numeric_limits<double>::infinity();
    for (const DrawFilters& filters :
         {DrawFilters{0.8, 1.0, {}, {}}, DrawFilters{0.0, 1.0, {}, {}}, DrawFilters{1.0, 0.9, {}, {}},
          DrawFilters{0.7, 0.5, {}, {}}, DrawFilters{1.2, 1.0, 20, {}}, DrawFilters{0.8, 1.0, 200, {}},
          DrawFilters{1.0, 0.95, 700, {}}, DrawFilters{1.0, 0.8, 50, {}}}) {
      CAPTURE(outputs, filters.temperature, filters.top_p, filters.top_k.value_or(0));
      const Draw plain = draw_tokens(logits, forbidden, uniforms, filters);
      const at::Tensor broken = flag(at::kCUDA);
      const Draw drawn = draw_tokens_where({}, {}, logits.cuda(), forbidden.cuda(), uniforms.cuda(), filters, broken);
      CHECK_FALSE(broken.item<bool>());
      const at::Tensor same = drawn.ids.cpu() == plain.ids;
      // A sum in another order moves a boundary by some 1e-6 of the total: a draw in several thousand falls between.
      CHECK(same.logical_not().sum().item<int64_t>() <= std::max<int64_t>(rows / 500, 1));
      // Likewise a token at the nucleus's edge may fall on either side of it, and the others' shares follow.
      const at::Tensor difference = (drawn.probabilities.cpu() - plain.probabilities).abs().masked_select(same);
      CHECK((difference > 1e-5).sum().item<int64_t>() <= std::max<int64_t>(rows / 500, 1));
      CHECK(difference.median().item<double>() < 1e-6);
    }
  }
}

TEST_CASE("The drawing kernel leaves rows alone that are not wanted, and reports rows that are broken") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {66, 5000}) {
    at::Tensor logits = some_logits(8, outputs);
    logits[3][1] = std::nanf("");
    const at::Tensor given = at::full({8}, 77, at::kLong);
    const auto draw_with = [&](const std::vector<int64_t>& unwanted) {
      at::Tensor wanted = at::ones({8}, at::kBool);
      for (const int64_t row : unwanted) {
        wanted[row] = false;
      }
      const at::Tensor broken = flag(at::kCUDA);
      const Draw drawn = draw_tokens_where(wanted.cuda(), given.cuda(), logits.cuda(), at::zeros({outputs}).cuda(),
                                           at::full({8}, 0.5).cuda(), DrawFilters{}, broken);
      for (const int64_t row : unwanted) {
        CHECK(drawn.ids[row].item<int64_t>() == 77);
        CHECK(drawn.probabilities[row].item<float>() == 1);
      }
      return broken.item<bool>();
    };
    CHECK_FALSE(draw_with({3, 5}));
    CHECK(draw_with({5}));
  }
}

TEST_CASE("The judging kernel gives softmax's probabilities") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {2, 66, 1000, 5001, 50304}) {
    CAPTURE(outputs);
    const at::Tensor logits = some_logits(60, outputs).view({3, 20, outputs});
    const at::Tensor tokens = at::arange(60, at::kLong).remainder(outputs).view({3, 20});
    const at::Tensor here = flag(at::kCPU), there = flag(at::kCUDA);
    CHECK(at::allclose(token_probability(logits.cuda(), tokens.cuda(), there).cpu(),
                       token_probability(logits, tokens, here), 1e-4, 1e-7));
    CHECK(
        at::allclose(class_probability(logits.cuda(), 1, there).cpu(), class_probability(logits, 1, here), 1e-4, 1e-7));
    CHECK_FALSE(there.item<bool>());
    at::Tensor damaged = logits.clone();
    damaged[1][7][0] = std::numeric_limits<float>::infinity();
    token_probability(damaged.cuda(), tokens.cuda(), there);
    CHECK(there.item<bool>());
  }
}

TEST_CASE("The measuring kernel gives the log probability, the margin and the entropy of softmax") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {1, 2, 31, 66, 1000, 50304}) {
    CAPTURE(outputs);
    const at::Tensor logits = some_logits(60, outputs).view({3, 20, outputs});
    const at::Tensor tokens = at::arange(60, at::kLong).remainder(outputs).view({3, 20});
    const at::Tensor here = flag(at::kCPU), there = flag(at::kCUDA);
    const Certainty plain = measure_certainty(logits, tokens, here);
    const Certainty measured = measure_certainty(logits.cuda(), tokens.cuda(), there);
    CHECK(at::allclose(measured.log_probability.cpu(), plain.log_probability, 1e-4, 1e-4));
    CHECK(at::allclose(measured.margin.cpu(), plain.margin, 1e-4, 1e-6));
    CHECK(at::allclose(measured.entropy.cpu(), plain.entropy, 1e-4, 1e-4));
    CHECK_FALSE(there.item<bool>());
    at::Tensor damaged = logits.clone();
    damaged[1][7][0] = std::nanf("");
    measure_certainty(damaged.cuda(), tokens.cuda(), there);
    CHECK(there.item<bool>());
  }
}

TEST_CASE("The tracing kernel traces what LibTorch's operations do, in its slot alone") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {1, 2, 3, 31, 66, 1000, 50304}) {
    CAPTURE(outputs);
    const at::Tensor logits = some_logits(60, outputs).view({3, 20, outputs}), masked = at::rand({3, 20}) < 0.5;
    const at::Tensor tokens = at::arange(60, at::kLong).remainder(outputs + 1).view({3, 20});  // the mask id may follow
    at::Tensor forbidden = at::zeros({outputs});
    forbidden[outputs / 2] = -std::numeric_limits<double>::infinity();
    const at::Tensor slot = at::tensor({2}, at::kLong);
    for (const bool with_text : {true, false}) {
      const kernels::TraceTables plain = make_trace_tables({4, 3, 20}, forbidden, with_text),
                                 traced = make_trace_tables({4, 3, 20}, forbidden.cuda(), with_text);
      const auto masked_for = [&](const at::Tensor& x) { return with_text ? x : at::Tensor(); };
      trace_step(slot, logits, tokens, masked_for(masked), forbidden, plain);
      trace_step(slot.cuda(), logits.cuda(), tokens.cuda(), masked_for(masked.cuda()), forbidden.cuda(), traced);
      if (with_text) {
        CHECK(at::equal(traced.tokens.cpu(), plain.tokens));
        CHECK(at::equal(traced.masked.cpu(), plain.masked));
      }
      CHECK(at::equal(traced.likeliest.cpu(), plain.likeliest));
      CHECK(at::allclose(traced.likeliest_probabilities.cpu(), plain.likeliest_probabilities, 1e-4, 1e-7));
      CHECK(at::allclose(traced.confidence.cpu(), plain.confidence, 1e-4, 1e-7));
    }
  }
}

TEST_CASE("The drawing kernel takes each sample's or position's own temperature") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {66, 5000}) {
    const at::Tensor logits = some_logits(60, outputs).view({3, 20, outputs});
    const at::Tensor forbidden = at::zeros({outputs}), uniforms = at::rand({3, 20}).clamp(1e-6, 1 - 1e-6);
    const at::Tensor broken = flag(at::kCUDA);
    for (const at::Tensor& temperatures :
         {at::tensor({0.3, 1.0, 2.5}, at::kFloat).view({3, 1}), at::rand({3, 20}) * 2 + 0.2}) {
      DrawFilters here, there;
      here.temperatures = temperatures;
      there.temperatures = temperatures.cuda();
      const Draw plain = draw_tokens(logits, forbidden, uniforms, here);
      const Draw drawn = draw_tokens_where({}, {}, logits.cuda(), forbidden.cuda(), uniforms.cuda(), there, broken);
      CHECK((drawn.ids.cpu() == plain.ids).sum().item<int64_t>() >= 58);
      CHECK((drawn.probabilities.cpu() - plain.probabilities).abs().median().item<double>() < 1e-6);
    }
  }
}

TEST_CASE("The selecting kernel chooses the positions that a stable sort chooses") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const int64_t length : {1, 31, 512, 1024, 3000}) {
    // Few values, so that there are many equals, and both signs.
    const at::Tensor scores = at::randint(-20, 20, {16, length}).to(at::kFloat).div(8);
    const at::Tensor eligible = at::rand({16, length}) < 0.8;
    for (const double share : {0.0, 0.3, 1.0}) {
      CAPTURE(length, share);
      const at::Tensor count = eligible.sum(1, /*keepdim=*/true).mul(share).to(at::kLong);
      const RemaskBudget budget{eligible, count}, there{eligible.cuda(), count.cuda()};
      CHECK(at::equal(highest(scores.cuda(), there).masked().cpu(), highest(scores, budget).masked()));
      CHECK(at::equal(lowest(scores.cuda(), there).masked().cpu(), lowest(scores, budget).masked()));
    }
  }
}

TEST_CASE("The revealing kernel masks what LibTorch's operations mask, by every rule and within every bound") {
  using kernels::RevealKind;
  using kernels::RevealRule;
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const int64_t length : {1, 31, 512, 1000, 4096, 5000}) {
    // Multiples of 1/64, many of them equal, so that sums are exact in any order.
    const at::Tensor certainty = at::randint(0, 65, {16, length}).to(at::kFloat).div(64);
    at::Tensor drawn = at::rand({16, length}) < 0.7;
    drawn[3].zero_();  // a text that is finished
    for (const RevealRule& rule :
         {RevealRule{RevealKind::at_least, 0.0}, RevealRule{RevealKind::at_least, 0.75},
          RevealRule{RevealKind::at_least, 2.0}, RevealRule{RevealKind::factor, 0.5},
          RevealRule{RevealKind::factor, 20.0}, RevealRule{RevealKind::entropy_sum, 0.0},
          RevealRule{RevealKind::entropy_sum, 3.0}, RevealRule{RevealKind::entropy_sum, 1e6}}) {
      const at::Tensor c = rule.kind == RevealKind::entropy_sum ? certainty.neg() : certainty;
      for (const int64_t left : {-1, 0, 1, 7, 300}) {
        CAPTURE(length, static_cast<int>(rule.kind), rule.bound, left);
        const at::Tensor steps = left < 0 ? at::Tensor() : at::full({1, 1}, left, at::kLong).expand({16, 1});
        const at::Tensor plain = reveal_most_certain(c, drawn, steps, rule);
        const at::Tensor there = left < 0 ? steps : steps.cuda();
        CHECK(at::equal(reveal_most_certain(c.cuda(), drawn.cuda(), there, rule).cpu(), plain));
      }
    }
  }
}

TEST_CASE("The stability kernel counts the steps with a small divergence and marks the probable among them") {
  if (!kernels_here()) {
    return;
  }
  for (const int64_t outputs : {2, 66, 200, 1000}) {
    CAPTURE(outputs);
    const kernels::Stability stability{0.0001, 0.05, 2};
    const at::Tensor tokens = at::arange(60, at::kLong).remainder(outputs).view({3, 20});
    const at::Tensor previous = at::full({3, 20, outputs}, std::nan(""), at::kFloat),
                     steady = at::full_like(tokens, -1);
    const at::Tensor previous_there = previous.cuda(), steady_there = steady.cuda();
    const at::Tensor here = flag(at::kCPU), there = flag(at::kCUDA);
    at::Tensor logits = some_logits(60, outputs).view({3, 20, outputs}).clone();
    int64_t stable = 0;
    for (int step = 0; step < 4; ++step) {
      // The later positions move little, the others much.
      logits.narrow(1, 0, 10).mul_(0.5);
      logits.narrow(1, 10, 10).mul_(0.99);
      const at::Tensor plain = stability_certainty(logits, tokens, stability, previous, steady, here);
      const at::Tensor marked =
          stability_certainty(logits.cuda(), tokens.cuda(), stability, previous_there, steady_there, there).cpu();
      CHECK(at::allclose(marked, plain, 1e-4, 1e-6));
      CHECK(at::equal(steady_there.cpu(), steady));
      CHECK(at::allclose(previous_there.cpu(), previous, 1e-5, 1e-5));
      stable += (marked >= 2).sum().item<int64_t>();
    }
    CHECK(stable > 0);
    CHECK_FALSE(there.item<bool>());
    logits[1][7][0] = std::nanf("");
    stability_certainty(logits.cuda(), tokens.cuda(), stability, previous_there, steady_there, there);
    CHECK(there.item<bool>());
  }
}

TEST_CASE("Spreading a share and weighing what a text has too much of come out alike on both devices") {
  if (!kernels_here()) {
    SUCCEED("no CUDA device");
    return;
  }
  at::manual_seed(7);
  const at::Device device(at::kCUDA);
  for (const auto& [batch, length, outputs] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 3}, {3, 257, 66}, {2, 1000, 4097}}) {
    CAPTURE(batch, length, outputs);
    const at::Tensor from = at::rand({batch, length}) < 0.7;
    const at::Tensor share = at::rand({batch, 1}), offset = at::rand({batch, 1});
    const kernels::cuda::Parted there = spread(from.to(device), share.to(device), offset.to(device));
    const kernels::cuda::Parted here = spread(from, share, offset);
    CHECK(there.taken.cpu().equal(here.taken));
    CHECK(there.left.cpu().equal(here.left));

    const auto policy = testing::policy_of("best"), same = testing::policy_of("best");
    const at::Tensor start = at::randn({batch, length, outputs}), logits = at::randn({batch, length, outputs});
    const at::Tensor eligible = at::ones({batch, length}, at::kBool);
    policy->look_at_start(start, eligible, {});
    same->look_at_start(start.to(device), eligible.to(device), {});
    const at::Tensor tokens = at::randint(std::min<int64_t>(outputs, 5), {batch, length}, at::kLong);
    const at::Tensor expected = policy->weigh(logits, tokens, from);
    const at::Tensor found = same->weigh(logits.to(device), tokens.to(device), from.to(device)).cpu();
    CHECK((expected - logits).abs().max().item<double>() > (length > 1 ? 0.1 : -1));
    CHECK((expected - found).abs().max().item<double>() < 1e-4);
    const at::Tensor broken = flag(at::kCPU), also_broken = flag(at::kCUDA);
    const at::Tensor step = at::rand({batch, 1}) + 0.5;
    CHECK(at::allclose(same->temperatures(logits.to(device), step.to(device), also_broken).cpu(),
                       policy->temperatures(logits, step, broken), 1e-3, 1e-5));
    CHECK_FALSE(also_broken.item<bool>());
  }
}
