// best's rule, stated again on probabilities chosen by hand.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "sampling/strategy_plan.h"
#include "sampling/token_draw.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"
#include "tests/unit/sampling/policies.h"
#include "tests/unit/sampling/turns.h"

using namespace demask;
using namespace demask::testing;

TEST_CASE("best measures surprise against that which the token has of its own") {
  // Before any text token 0 has probability 1/2, token 1 and 2 a quarter each: H0 = 1.5 ln 2, surprises ln 2 and 2
  // ln 2.
  const auto policy = testing::best(1.0, 0, 0);
  policy->look_at_start(logits_of({{0.75, 0.125, 0.125}, {0.25, 0.375, 0.375}, {0.5, 0.25, 0.25}}),
                        at::ones({1, 3}, at::kBool), {});
  Proposal proposal = proposal_of({{0.5, 0.3, 0.2}, {0.2, 0.4, 0.4}, {0.9, 0.05, 0.05}}, {1, 1, 1});
  proposal.tokens = at::tensor({0, 1, 0}, at::kLong).unsqueeze(0);
  // -log p is 0.69, 0.92, 0.11; over ln 2 and 2 ln 2 it is 1, 0.66, 0.15: the first is the most surprising.
  const std::vector<double> noise(3, 0.5);
  CHECK(positions(policy->next_masked(proposal, turn_of(1, noise, 1))) == Positions{0});
  const auto plain = testing::best(0, 0, 0);
  CHECK(positions(plain->next_masked(proposal, turn_of(1, noise, 1))) == Positions{1});
}

TEST_CASE("best favours new tokens by its bonus, and adds Gumbel noise until the last step") {
  const Proposal proposal = proposal_of({sure(0.5), sure(0.6), sure(0.9)}, {1, 0, 0});
  const std::vector<double> noise = {0.5, 0.5, 0.01};
  // -log p: 0.69, 0.51, 0.11.
  CHECK(positions(testing::best(0, 0, 0)->next_masked(proposal, turn_of(1, noise, 1))) == Positions{0});
  CHECK(positions(testing::best(0, 0.3, 0)->next_masked(proposal, turn_of(1, noise, 1))) == Positions{1});
  // Gumbel: 0.37, 0.37, -1.53.
  CHECK(positions(testing::best(0, 0, 2)->next_masked(proposal, turn_of(1, noise, 1))) == Positions{0});
  CHECK(positions(testing::best(0, 0, 2)->next_masked(proposal, turn_of(1, noise, 0))) == Positions{2});
}

// Halfway, where `steps` draw so many positions in `block_length` each.
PlannedStep halfway(int64_t steps, int64_t block_length = 256, double redraws = 8, int64_t positions = 256) {
  DiffusionSettings settings = testing::settings_of("best", {{"redraws", redraws}});
  settings.diffusion_iterations = steps;
  settings.block_length = block_length;
  DiffusionOptions options;
  plan_strategy(settings, *testing::policy_of("best"), options);
  const Plan plan = options.plan(Stream{}, positions);
  return plan[static_cast<size_t>(steps / (positions / block_length) / 2 - 1)];
}

double noise_of(const PlannedStep& step) {
  return step.noise_scale * step.noise_left;
}

TEST_CASE("best draws fewer positions and chooses by more noise where a block has more than 32 steps") {
  CHECK(noise_of(halfway(32)) == Catch::Approx(0.5));
  CHECK(noise_of(halfway(16)) == Catch::Approx(0.5));
  CHECK(noise_of(halfway(64)) > 1.5 * noise_of(halfway(32)));
  CHECK(noise_of(halfway(128)) > noise_of(halfway(64)));
  CHECK(noise_of(halfway(128)) < 1.5 * noise_of(halfway(64)));     // rarer draws do the rest
  CHECK(halfway(64).draw_share < 0.5 * halfway(32).draw_share);    // fewer over all steps, not a step alone
  CHECK(noise_of(halfway(128, 64)) == noise_of(halfway(32)));      // four blocks of 32 steps
  CHECK(noise_of(halfway(128, 256, 0)) == noise_of(halfway(32)));  // each step draws all
}

TEST_CASE("best draws a position as often however many steps there are, once they are many") {
  const auto draws_of = [](int64_t steps) { return halfway(steps).draw_share * static_cast<double>(steps); };
  CHECK(draws_of(128) < 0.9 * draws_of(64));
  CHECK(draws_of(512) == Catch::Approx(draws_of(256)).epsilon(0.03));  // a step masks a whole number of positions
}

TEST_CASE("best chooses by more noise where few steps are to fill a long text") {
  const auto noise_for = [](int64_t steps, int64_t positions) {
    return noise_of(halfway(steps, positions, 8, positions));
  };
  CHECK(noise_for(32, 512) > 1.2 * noise_for(32, 256));
  CHECK(noise_for(32, 1024) > 1.2 * noise_for(32, 512));
  CHECK(noise_for(32, 64) == noise_for(32, 256));
  CHECK(noise_for(128, 512) == noise_for(128, 256));  // many steps bring more of their own
}

TEST_CASE("best speaks against tokens that the text has more often than expected, by how often") {
  // Expected before any text: half zeros, half ones. Of four visible tokens all are 0: k = 4, e = 2.
  const auto weighed = [](double count_penalty, double excess_penalty) {
    const auto policy =
        testing::policy_of("best", {{"count_penalty", count_penalty}, {"excess_penalty", excess_penalty}});
    policy->look_at_start(logits_of(std::vector<std::vector<double>>(16, {0.5, 0.5})), at::ones({1, 16}, at::kBool),
                          {});
    at::Tensor visible = at::zeros({1, 16}, at::kBool);
    visible.narrow(1, 0, 4).fill_(true);
    const at::Tensor logits = at::zeros({1, 16, 2});
    return policy->weigh(logits, at::zeros({1, 16}, at::kLong), visible.logical_not());
  };
  const double ratio = std::log(5.0 / 3.0);
  const at::Tensor by_count = weighed(1.5, 0);
  CHECK(by_count[0][0][0].item<double>() == Catch::Approx(-1.5 * ratio).epsilon(1e-6));
  CHECK(by_count[0][15][0].item<double>() == Catch::Approx(-1.5 * ratio).epsilon(1e-6));  // at every position alike
  CHECK(by_count[0][0][1].item<double>() == 0);  // rarer than expected: nothing
  // (4 - 2) / sqrt(3) is within two standard deviations.
  CHECK(weighed(0, 1)[0][0][0].item<double>() == 0);
  CHECK(weighed(0, 0)[0][0][0].item<double>() == 0);
}

TEST_CASE("best draws a position by the entropy that it has of what it has before there is any text") {
  // Before any text all four tokens are alike: H0 = ln 4.
  const auto drawn_at = [](double power, const std::vector<Distribution>& start) {
    const auto policy = testing::policy_of("best", {{"entropy_power", power}});
    CHECK(policy->sets_temperatures());
    policy->look_at_start(logits_of(start), at::ones({1, static_cast<int64_t>(start.size())}, at::kBool), {});
    const at::Tensor broken = at::zeros({}, at::kBool);
    const at::Tensor temperatures = policy->temperatures(
        logits_of({{0.25, 0.25, 0.25, 0.25}, {0.5, 0.5, 0, 0}, {1, 0, 0, 0}}), floats({3}), broken);
    CHECK_FALSE(broken.item<bool>());
    return temperatures;
  };
  const std::vector<Distribution> even = {{0.5, 0.5, 0, 0}, {0, 0, 0.5, 0.5}}, sure_of_it = {{1, 0, 0, 0}};
  const double least = least_temperature;  // that drawing can divide by
  CHECK(at::allclose(drawn_at(1, even), floats({3, 1.5, least})));
  CHECK(at::allclose(drawn_at(2, even), floats({3, 0.75, least})));
  CHECK(at::allclose(drawn_at(1, {{0.5, 0.5, 0, 0}}), floats({3, 3, least})));  // never hotter than the step
  CHECK(at::allclose(drawn_at(1, sure_of_it), floats({3, 3, least})));          // where H0 is 0
  CHECK(drawn_at(1, even).gt(0).all().item<bool>());
  const auto plain =
      testing::policy_of("best", {{"entropy_power", 0.0}, {"vocabulary_power", 0.0}, {"letter_doubt", 0.0}});
  CHECK_FALSE(plain->sets_temperatures());
}

TEST_CASE("best draws tokens cooler that have more entropy than letters before there is any text") {
  // All tokens of a vocabulary are alike before there is any text, and at the position that is drawn.
  const auto drawn_of = [](int64_t tokens, double power, int64_t forwards = 32) {
    const auto policy = testing::policy_of("best", {{"vocabulary_power", power}}, forwards);
    const at::Tensor even = at::zeros({1, 1, tokens});
    policy->look_at_start(even, at::ones({1, 1}, at::kBool), {});
    return policy->temperatures(even, floats({3}), at::zeros({}, at::kBool)).item<double>();
  };
  CHECK(drawn_of(4096, 1) == Catch::Approx(3 * 3.5 / std::log(4096)).epsilon(1e-5));
  CHECK(drawn_of(4096, 0.5) == Catch::Approx(3 * std::sqrt(3.5 / std::log(4096))).epsilon(1e-5));
  CHECK(drawn_of(4096, 0) == Catch::Approx(3).epsilon(1e-5));
  CHECK(drawn_of(32, 1) == Catch::Approx(3).epsilon(1e-5));  // ln 32 is 3.47
  // Cooler with more than 64 forwards up to 256, and no less cool with fewer.
  CHECK(drawn_of(4096, 0.5, 256) < drawn_of(4096, 0.5, 128));
  CHECK(drawn_of(4096, 0.5, 128) < drawn_of(4096, 0.5, 64));
  CHECK(drawn_of(4096, 0.5, 64) == drawn_of(4096, 0.5));
  CHECK(drawn_of(4096, 0.5, 512) == drawn_of(4096, 0.5, 256));
  CHECK(drawn_of(4096, 0.5, 8) == drawn_of(4096, 0.5));
  CHECK(drawn_of(32, 0.5, 128) == Catch::Approx(3).epsilon(1e-5));
}

TEST_CASE("best draws letters hotter than pieces where half of a letter's doubt is that of its word") {
  const auto drawn_of = [](bool letters, double doubt, int64_t forwards = 32) {
    const auto policy = testing::policy_of("best", {{"letter_doubt", doubt}, {"vocabulary_power", 0.0}}, forwards);
    const at::Tensor even = at::zeros({1, 1, 32}), both = bools(std::vector<int64_t>(32, 1))[0];
    policy->look_at_start(even, at::ones({1, 1}, at::kBool), {both, both, letters});
    return policy->temperatures(even, floats({2}), at::zeros({}, at::kBool)).item<double>();
  };
  CHECK(drawn_of(/*letters=*/true, 0.5) == Catch::Approx(2 * 1.09).epsilon(1e-5));
  CHECK(drawn_of(/*letters=*/false, 0.5) == Catch::Approx(2).epsilon(1e-5));
  CHECK(drawn_of(/*letters=*/true, 0) == Catch::Approx(2).epsilon(1e-5));
  CHECK(drawn_of(/*letters=*/true, 1) == Catch::Approx(2).epsilon(1e-5));
  CHECK(drawn_of(/*letters=*/true, 0.9) == Catch::Approx(drawn_of(/*letters=*/true, 0.1)).epsilon(1e-5));
}

TEST_CASE("best chooses by more noise among tokens that have more entropy than letters, beside that of many steps") {
  // Two positions, doubted alike but for 1 nat; before there is any text all tokens are alike.
  const auto chosen = [](int64_t tokens, double power, double noise_scale) {
    const auto policy = testing::policy_of("best", {{"prior_weight", 0.0},
                                                    {"new_token_bonus", 0.0},
                                                    {"choice_temperature", 1.0},
                                                    {"vocabulary_noise", power},
                                                    {"word_doubt", 0.0}});
    policy->look_at_start(at::zeros({1, 2, tokens}), at::ones({1, 2}, at::kBool), {});
    const Proposal proposal = proposal_of({sure(std::exp(-0.5)), sure(std::exp(-1.5))}, {0, 0});
    Turn turn = turn_of(1, {0.3, 0.5});  // Gumbel -0.186 and 0.367, of which half is left
    turn.noise_scale.fill_(noise_scale);
    return positions(policy->next_masked(proposal, turn));
  };
  // Half of 0.552 reaches 1 nat from a weight of 3.62 on. 4,096 tokens have 2.377 times the entropy of letters.
  CHECK(chosen(4096, 0, 1) == Positions{1});
  CHECK(chosen(4096, 1.4, 1) == Positions{1});  // 3.36
  CHECK(chosen(4096, 1.6, 1) == Positions{0});  // 4.00
  CHECK(chosen(32, 1.6, 1) == Positions{1});    // letters
  CHECK(chosen(32, 1.6, 3.7) == Positions{0});  // many steps
  // Their squares add up.
  CHECK(chosen(4096, 1.4, 2) == Positions{0});  // 3.78
  CHECK(chosen(4096, 1.1, 2) == Positions{1});  // 3.12
}

TEST_CASE("A step of best draws each position at its own temperature, or the likeliest at temperature 0") {
  // H is 0.325 and ln 2, H0 that of 0.7 and 0.3, 0.611: the first position is drawn at 0.532, the other at 1.
  FixedLogits fake(logits_of({{0.9, 0.1, 0}, {0.5, 0.5, 0}})[0]);
  CheckedModel model(fake, "fake");
  const auto policy = testing::policy_of("best");
  DiffusionOptions options;
  options.plan = plan_by(MaskSchedule::custom({1.0}), /*judged=*/false);
  options.mask_token_id = 2;
  options.forbidden = at::zeros({3});
  options.draw.filters.temperature = 1;
  const Template text{{2, 2}, {false, false}};
  constexpr int64_t samples = 2000;
  int64_t first = 0, second = 0;
  for (const DrawnSample& sample :
       DiffusionSampler(model, *policy, options).sample(consecutive({1337, 0}, samples, text), nullptr)) {
    first += sample.tokens[0] == 0 ? 1 : 0;
    second += sample.tokens[1] == 0 ? 1 : 0;
  }
  const double sharper = 1 / (1 + std::pow(1.0 / 9, 1 / 0.532));  // 0.984, three standard errors are 0.0084
  CHECK(static_cast<double>(first) / samples == Catch::Approx(sharper).margin(0.0084));
  CHECK(static_cast<double>(second) / samples == Catch::Approx(0.5).margin(0.034));
  options.draw.filters.temperature = 0;
  for (const DrawnSample& sample :
       DiffusionSampler(model, *policy, options).sample(consecutive({1337, 0}, 20, text), nullptr)) {
    CHECK(sample.tokens == std::vector<int64_t>{0, 0});
  }
}

TEST_CASE("best masks again what a step did not draw, before anything else") {
  const Proposal proposal = proposal_of({sure(0.5), sure(0.6), sure(0.9)}, {1, 0, 0});
  Turn turn = turn_of(2, {0.5, 0.5, 0.5});
  turn.waiting = at::tensor({0, 0, 1}, at::kLong).to(at::kBool).unsqueeze(0);
  CHECK(positions(testing::best(0, 0, 0)->next_masked(proposal, turn)) == Positions{0, 2});
}

TEST_CASE("best doubts a piece by the most doubtful piece of its word, as far as that is asked for") {
  // -log p: 0.69, 0.22, 0.11, 0.51. The first three are one word, the last is its own.
  const Proposal proposal = proposal_of({sure(0.5), sure(0.8), sure(0.9), sure(0.6)}, {0, 0, 0, 0});
  const auto masked = [&](double word_doubt, int64_t count, bool knows_words) {
    const auto policy = testing::policy_of("best", {{"prior_weight", 0.0},
                                                    {"new_token_bonus", 0.0},
                                                    {"choice_temperature", 0.0},
                                                    {"word_doubt", word_doubt},
                                                    {"letter_doubt", 0.0},
                                                    {"letter_noise", 0.0}});
    CHECK(policy->reads_words() == (word_doubt > 0));
    Proposal of_pieces = proposal;
    of_pieces.tokens = at::tensor({0, 1, 1, 0}, at::kLong).unsqueeze(0);
    of_pieces.logits = logits_of({sure(0.5), {0.1, 0.8, 0.1}, {0.05, 0.9, 0.05}, sure(0.6)});
    Turn turn = turn_of(count, std::vector<double>(4, 0.5));
    if (knows_words) {
      turn.words = {bools({0, 1, 1})[0], bools({1, 1, 1})[0]};
    }
    return positions(policy->next_masked(of_pieces, turn));
  };
  CHECK(masked(0, 2, true) == Positions{0, 3});
  CHECK(masked(1, 3, true) == Positions{0, 1, 2});
  CHECK(masked(1, 2, false) == Positions{0, 3});
  // Halves: 0.69, 0.46, 0.40, 0.51.
  CHECK(masked(0.5, 2, true) == Positions{0, 3});
  CHECK(masked(0.5, 3, true) == Positions{0, 1, 3});
}

TEST_CASE("best takes the letters of a word as one by shares of their own, and a piece's share is none of theirs") {
  // -log p: 0.69, 0.22, 0.11, 0.51. The first three are one word, the last is its own.
  Proposal proposal = proposal_of(std::vector<Distribution>(4, sure(0.5)), {0, 0, 0, 0});
  proposal.tokens = at::tensor({0, 1, 1, 0}, at::kLong).unsqueeze(0);
  proposal.logits = logits_of({sure(0.5), {0.1, 0.8, 0.1}, {0.05, 0.9, 0.05}, sure(0.6)});
  const auto masked = [&](double doubt, double noise, double temperature, const std::vector<double>& uniforms,
                          bool letters) {
    const auto policy = testing::policy_of("best", {{"prior_weight", 0.0},
                                                    {"new_token_bonus", 0.0},
                                                    {"choice_temperature", temperature},
                                                    {"word_doubt", 0.0},
                                                    {"letter_doubt", doubt},
                                                    {"letter_noise", noise}});
    policy->look_at_start(at::zeros({1, 4, 3}), at::ones({1, 4}, at::kBool), {});
    CHECK(policy->reads_words());
    Turn turn = turn_of(3, uniforms);
    turn.words = {bools({0, 1, 1})[0], bools({1, 1, 1})[0], letters};
    return positions(policy->next_masked(proposal, turn));
  };
  const std::vector<double> even(4, 0.5);
  CHECK(masked(1, 0, 0, even, /*letters=*/true) == Positions{0, 1, 2});
  CHECK(masked(1, 0, 0, even, /*letters=*/false) == Positions{0, 1, 3});
  // Gumbel -0.83 at the second letter, 1.94 at the third: by its own noise the third is kept, by its word's it is not.
  CHECK(masked(0.001, 0, 1, {0.5, 0.1, 0.866, 0.5}, /*letters=*/true) == Positions{0, 1, 3});
  CHECK(masked(0.001, 1, 1, {0.5, 0.1, 0.866, 0.5}, /*letters=*/true) == Positions{0, 1, 2});
  CHECK(masked(0.001, 1, 1, {0.5, 0.1, 0.866, 0.5}, /*letters=*/false) == Positions{0, 1, 3});
}
