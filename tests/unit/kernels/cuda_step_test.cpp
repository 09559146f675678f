// What a step of diffusion begins and ends with, bit for bit as LibTorch's operations do it.
#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;

TEST_CASE("A step begins and ends as by LibTorch's operations") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  const at::TensorOptions integers = at::device(at::kCUDA).dtype(at::kLong);
  const std::vector<uint32_t> purposes = {0, 1, 6};
  for (const int64_t plans : {1, 300}) {
    const at::Tensor counts = at::randint(1000, {plans, 700, 3}, integers),
                     numbers = at::rand({plans, 700, 5}, integers.dtype(at::kFloat)),
                     step = at::full({1}, 699, integers);
    // Texts of one position have fewer numbers than their plans have columns.
    for (const int64_t length : {1, 7, 1001}) {
      const at::Tensor seeds = at::randint(1000, {plans}, integers), samples = at::arange(plans, integers);
      for (const bool beside : {false, true}) {
        CAPTURE(plans, length, beside);
        const kernels::cuda::StepTables tables{counts, numbers, step};
        const kernels::cuda::StepStart start = kernels::cuda::step_start(tables, {seeds, samples}, length, 3);
        kernels::cuda::begin_step(tables, {seeds, samples}, purposes, start, beside);
        CHECK(at::equal(start.counts, counts.index_select(1, step)));
        CHECK(at::equal(start.numbers, numbers.index_select(1, step)));
        REQUIRE(start.noise.size() == purposes.size());
        for (size_t i = 0; i < start.noise.size(); ++i) {
          CHECK(at::equal(start.noise[i], kernels::cuda::uniform({seeds, samples}, step, length, purposes[i])));
        }
      }
    }
  }
  constexpr int64_t mask = 77;
  const at::Tensor drawn = at::randint(70, {3, 1001}, integers), next = at::rand({3, 1001}, at::kCUDA) < 0.4;
  const kernels::cuda::StepState state{at::zeros_like(drawn), at::zeros_like(next), at::zeros({1}, integers)};
  kernels::cuda::end_step(state, drawn, next, mask);
  CHECK(at::equal(state.tokens, drawn.masked_fill(next, mask)));
  CHECK(at::equal(state.masked, next));
  kernels::cuda::end_step(state, drawn, {}, mask);
  CHECK(at::equal(state.tokens, drawn));
  CHECK(!state.masked.any().item<bool>());
  CHECK(state.step.item<int64_t>() == 2);
  // By a ranking, of few scores, so that many are equal.
  for (const int64_t length : {1, 31, 1001}) {
    const at::Tensor tokens = at::randint(70, {16, length}, integers),
                     scores = at::randint(-20, 20, {16, length}, integers).to(at::kFloat).div(8),
                     eligible = at::rand({16, length}, at::kCUDA) < 0.8,
                     count = eligible.sum(1, /*keepdim=*/true).mul(0.3).to(at::kLong);
    for (const bool lowest : {false, true}) {
      CAPTURE(length, lowest);
      const kernels::cuda::RankedPositions ranked{scores, eligible, count, lowest};
      const at::Tensor those = kernels::cuda::highest(ranked);
      const kernels::cuda::StepState ranks{at::zeros_like(tokens), at::zeros_like(eligible), at::zeros({1}, integers)};
      REQUIRE(kernels::cuda::end_step_by(ranks, tokens, ranked, mask));
      CHECK(at::equal(ranks.tokens, tokens.masked_fill(those, mask)));
      CHECK(at::equal(ranks.masked, those));
      CHECK(ranks.step.item<int64_t>() == 1);
    }
  }
  // Not where what is written is what they are eligible by, nor where there are too many.
  const at::Tensor few = at::ones({3, 1}, integers);
  CHECK_FALSE(
      kernels::cuda::end_step_by(state, drawn, {at::rand({3, 1001}, at::kCUDA), state.masked, few, true}, mask));
  const at::Tensor long_text = at::zeros({1, 5000}, integers), nothing = at::zeros({1, 5000}, at::kCUDA).to(at::kBool);
  CHECK_FALSE(kernels::cuda::end_step_by({long_text, nothing, at::zeros({1}, integers)}, long_text,
                                         {at::rand({1, 5000}, at::kCUDA), nothing.clone(), few.narrow(0, 0, 1), true},
                                         mask));
  CHECK(state.step.item<int64_t>() == 2);
  const at::Tensor probability = at::rand({3, 1001}, at::kCUDA), noise = at::rand({3, 1001}, at::kCUDA);
  for (const double chance : {0.0, 0.3, 1.0}) {
    CHECK(at::equal(kernels::cuda::blend_doubt(probability, noise, chance),
                    (1 - probability) * (1 - chance) + noise * chance));
  }
}
