// Each strategy's rule, stated again on probabilities chosen by hand: which positions are masked after a step.
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

namespace strategies_test {
namespace {

Turn open_turn(int64_t length) {
  Turn turn = turn_of(0, std::vector<double>(static_cast<size_t>(length), 0.5));
  turn.budget.count.reset();
  return turn;
}

double gumbel_of(double u) {
  return -std::log(-std::log(u));
}

const std::vector<double> level(5, 0.5);

}  // namespace

TEST_CASE("Every strategy of the list makes a policy") {
  for (const Strategy& strategy : strategies()) {
    CAPTURE(strategy.name);
    CHECK(demask::testing::policy_of(strategy.name) != nullptr);
  }
}

TEST_CASE("confidence keeps the most probable of those drawn and masks no other again") {
  // Probabilities 0.9, 0.2, 0.5, 0.7, 0.1; the last was visible before.
  const Proposal proposal = proposal_of({sure(0.9), sure(0.2), sure(0.5), sure(0.7), sure(0.1)}, {1, 1, 1, 1, 0});
  CHECK(positions(testing::confidence(0)->next_masked(proposal, turn_of(2, level))) == Positions{1, 2});
  CHECK(positions(testing::confidence(0)->next_masked(proposal, turn_of(3, level))) == Positions{1, 2, 3});
  CHECK(positions(testing::confidence(0)->next_masked(proposal, turn_of(0, level))).empty());
}

TEST_CASE("margin and entropy see another order than confidence does") {
  // Token 0's probability, the margin of the two highest, the entropy:
  //   0.45  0.05  0.94     0.40  0.10  1.09     0.30  0.40  0.61 (others 0.7 and 0)
  const std::vector<Distribution> distributions = {{0.45, 0.40, 0.15}, {0.40, 0.30, 0.30}, {0.30, 0.70, 0.0}};
  const Proposal proposal = proposal_of(distributions, {1, 1, 1});
  const std::vector<double> noise(3, 0.5);
  CHECK(positions(testing::confidence(0)->next_masked(proposal, turn_of(1, noise))) == Positions{2});
  CHECK(positions(testing::margin(0)->next_masked(proposal, turn_of(1, noise))) == Positions{0});
  CHECK(positions(testing::entropy(0)->next_masked(proposal, turn_of(1, noise))) == Positions{1});
  CHECK(positions(testing::entropy(0)->next_masked(proposal, turn_of(2, noise))) == Positions{0, 1});
}

TEST_CASE("alg_temp ranks by certainty over temperature plus Gumbel noise") {
  const std::vector<double> p = {0.9, 0.6, 0.5}, noise = {0.1, 0.5, 0.9};
  const Proposal proposal = proposal_of({sure(0.9), sure(0.6), sure(0.5)}, {1, 1, 1});
  for (const double alg_temp : {0.05, 0.1, 0.3, 1.0}) {
    CAPTURE(alg_temp);
    std::vector<std::pair<double, int64_t>> scores;
    for (size_t i = 0; i < p.size(); ++i) {
      scores.emplace_back(p[i] / alg_temp + gumbel_of(noise[i]), static_cast<int64_t>(i));
    }
    const int64_t lowest = std::min_element(scores.begin(), scores.end())->second;
    CHECK(positions(testing::confidence(alg_temp)->next_masked(proposal, turn_of(1, noise))) == Positions{lowest});
  }
}

TEST_CASE("alg_temp draws positions without replacement in proportion to exp(certainty / alg_temp)") {
  // Dream's torch.multinomial(softmax(confidence / alg_temp), 2) over three positions: weights w, and the pair {i, j}
  // has the chance w_i w_j (1 / (1 - w_i) + 1 / (1 - w_j)). 40,000 turns: five standard errors are at most 0.0125.
  const std::vector<double> p = {0.9, 0.6, 0.5};
  const double alg_temp = 0.3;
  std::vector<double> weights;
  for (const double one : p) {
    weights.push_back(std::exp(one / alg_temp));
  }
  const double sum = weights[0] + weights[1] + weights[2];
  const int64_t turns = 40000;
  Proposal proposal = proposal_of({sure(0.9), sure(0.6), sure(0.5)}, {1, 1, 1});
  proposal.tokens = proposal.tokens.expand({turns, 3});
  proposal.drawn = proposal.drawn.expand({turns, 3});
  proposal.logits = proposal.logits.expand({turns, 3, 3});
  Turn turn = turn_of(1, {0.5, 0.5, 0.5});
  // As even as can be in three dimensions: multiples of the powers of the root of x^4 = x + 1.
  const double root = 1.22074408460575947536;
  const at::Tensor step =
      at::tensor(std::vector<double>{1 / root, 1 / (root * root), 1 / (root * root * root)}, at::kDouble);
  turn.noise = at::remainder(at::arange(1, turns + 1, at::kDouble).unsqueeze(1) * step, 1.0)
                   .clamp(1e-6, 1 - 1e-6)
                   .to(at::kFloat);
  turn.budget = {at::ones({turns, 3}, at::kBool), at::ones({turns, 1}, at::kLong)};
  const at::Tensor left = testing::confidence(alg_temp)->next_masked(proposal, turn).masked().to(at::kDouble).mean(0);
  for (size_t out = 0; out < 3; ++out) {
    const double i = weights[(out + 1) % 3] / sum, j = weights[(out + 2) % 3] / sum;
    CHECK(left[static_cast<int64_t>(out)].item<double>() ==
          Catch::Approx(i * j * (1 / (1 - i) + 1 / (1 - j))).margin(0.0125));
  }
}

TEST_CASE("random keeps masked where the noise is lowest inverted: by noise alone, among those drawn") {
  const Proposal proposal = proposal_of({sure(0.9), sure(0.1), sure(0.9), sure(0.1)}, {1, 1, 0, 1});
  CHECK(positions(testing::policy_of("random")->next_masked(proposal, turn_of(2, {0.9, 0.2, 0.1, 0.3}))) ==
        Positions{1, 3});
}

TEST_CASE("left_to_right keeps masked those furthest to the right of what was drawn, however sure the model is") {
  const Proposal proposal = proposal_of({sure(0.1), sure(0.9), sure(0.2), sure(0.8), sure(0.9)}, {1, 0, 1, 1, 0});
  const auto policy = testing::policy_of("left_to_right");
  CHECK(positions(policy->next_masked(proposal, turn_of(2, {0.9, 0.2, 0.1, 0.3, 0.5}))) == Positions{2, 3});
  CHECK(positions(policy->next_masked(proposal, turn_of(1, {0.9, 0.2, 0.1, 0.3, 0.5}))) == Positions{3});
}

TEST_CASE("maskgit ranks by log confidence plus Gumbel noise that ends with the steps") {
  const std::vector<double> p = {0.9, 0.6, 0.5, 0.3}, noise = {0.05, 0.6, 0.5, 0.97};
  const Proposal proposal = proposal_of({sure(0.9), sure(0.6), sure(0.5), sure(0.3)}, {1, 1, 1, 1});
  for (const double progress : {0.0, 0.25, 0.5, 1.0}) {
    CAPTURE(progress);
    std::vector<std::pair<double, int64_t>> scores;
    for (size_t i = 0; i < p.size(); ++i) {
      scores.emplace_back(std::log(p[i]) + 4.5 * (1 - progress) * gumbel_of(noise[i]), static_cast<int64_t>(i));
    }
    std::sort(scores.begin(), scores.end());
    Positions lowest = {scores[0].second, scores[1].second};
    std::sort(lowest.begin(), lowest.end());
    CHECK(positions(testing::maskgit(4.5)->next_masked(proposal, turn_of(2, noise, progress))) == lowest);
  }
}

TEST_CASE("threshold reveals all that reach it, and one where none does") {
  const Proposal proposal = proposal_of({sure(0.9), sure(0.75), sure(0.5), sure(0.99)}, {1, 1, 1, 0});
  CHECK(positions(testing::threshold(0.7)->next_masked(proposal, open_turn(4))) == Positions{2});
  CHECK(positions(testing::threshold(0.95)->next_masked(proposal, open_turn(4))) ==
        Positions{1, 2});  // the best of them
  CHECK(positions(testing::threshold(0.0)->next_masked(proposal, open_turn(4))).empty());
}

TEST_CASE("factor reveals the largest n for which (n + 1)(1 - c(n)) stays below it") {
  // Sorted 0.95, 0.8, 0.7, 0.4: (n + 1)(1 - c) is 0.1, 0.6, 1.2, 3.0.
  const Proposal proposal = proposal_of({sure(0.7), sure(0.95), sure(0.4), sure(0.8), sure(0.999)}, {1, 1, 1, 1, 0});
  CHECK(positions(testing::factor(0.05)->next_masked(proposal, open_turn(5))) == Positions{0, 2, 3});
  CHECK(positions(testing::factor(0.5)->next_masked(proposal, open_turn(5))) == Positions{0, 2, 3});
  CHECK(positions(testing::factor(1.0)->next_masked(proposal, open_turn(5))) == Positions{0, 2});
  CHECK(positions(testing::factor(1.3)->next_masked(proposal, open_turn(5))) == Positions{2});
  CHECK(positions(testing::factor(4.0)->next_masked(proposal, open_turn(5))).empty());
}

TEST_CASE("entropy_bound reveals the largest n whose entropies but the largest sum to at most gamma") {
  const auto entropy = [](double p) { return -(p * std::log(p) + (1 - p) * std::log((1 - p) / 2)); };
  // Ascending: sure(0.95) 0.233, sure(0.9) 0.395, sure(0.8) 0.639, sure(0.5) 1.04. Sums without the last: 0, 0.233,
  // 0.628, 1.267.
  const double first = entropy(0.95), two = first + entropy(0.9), three = two + entropy(0.8);
  const Proposal proposal = proposal_of({sure(0.8), sure(0.95), sure(0.5), sure(0.9), sure(0.99)}, {1, 1, 1, 1, 0});
  const auto masked = [&](double gamma) {
    return positions(testing::entropy_bound(gamma)->next_masked(proposal, open_turn(5)));
  };
  CHECK(masked(0) == Positions{0, 2, 3});
  CHECK(masked(first - 0.01) == Positions{0, 2, 3});
  CHECK(masked(first + 0.01) == Positions{0, 2});
  CHECK(masked(two - 0.01) == Positions{0, 2});
  CHECK(masked(two + 0.01) == Positions{2});
  CHECK(masked(three + 0.01).empty());
}

TEST_CASE("klass reveals what is probable and has been stable for its history, else the most probable") {
  const auto policy = testing::klass(0.8, 0.01, 2);
  policy->begin(at::zeros({1, 3}, at::kLong));
  const auto masked = [&](const std::vector<Distribution>& distributions) {
    return positions(policy->next_masked(proposal_of(distributions, {1, 1, 1}), open_turn(3)));
  };
  // The second moves each time, by KL(0.9 || 0.6) = 0.9 ln 1.5 + 0.1 ln 0.25 = 0.226 nats and the like.
  CHECK(masked({sure(0.9), sure(0.6), sure(0.5)}) == Positions{1, 2});   // no history: the most probable, one
  CHECK(masked({sure(0.9), sure(0.95), sure(0.5)}) == Positions{0, 2});  // steady once is not enough
  CHECK(masked({sure(0.9), sure(0.6), sure(0.5)}) == Positions{1, 2});   // steady twice: the first; the third is unsure
  CHECK(masked({sure(0.9), sure(0.95), sure(0.85)}) == Positions{1, 2});
  CHECK(masked({sure(0.9), sure(0.95), sure(0.85)}) == Positions{1, 2});
  CHECK(masked({sure(0.9), sure(0.95), sure(0.85)}).empty());
  policy->begin(at::zeros({1, 3}, at::kLong));  // forgets
  CHECK(masked({sure(0.9), sure(0.95), sure(0.85)}) == Positions{0, 2});
}

TEST_CASE("klass measures KL divergence in nats, of the new distribution from the old") {
  const double divergence = 0.9 * std::log(0.9 / 0.85) + 0.1 * std::log(0.1 / 0.15);
  for (const double limit : {divergence * 0.99, divergence * 1.01}) {
    const auto policy = testing::klass(0.8, limit, 1);
    policy->begin(at::zeros({1, 2}, at::kLong));
    policy->next_masked(proposal_of({sure(0.85), sure(0.95)}, {1, 1}), open_turn(2));
    const Positions masked = positions(policy->next_masked(proposal_of({sure(0.9), sure(0.95)}, {1, 1}), open_turn(2)));
    CHECK(masked == (limit > divergence ? Positions{} : Positions{0}));
  }
}

TEST_CASE("A policy that decides stays within the bounds of its turn") {
  const Proposal proposal = proposal_of({sure(0.9), sure(0.75), sure(0.5), sure(0.2)}, {1, 1, 1, 1});
  Turn turn = open_turn(4);
  // One more step: it gets one of the four at least, and this step reveals half of them at least.
  turn.steps_left = at::ones({1, 1}, at::kLong);
  CHECK(positions(testing::threshold(0.95)->next_masked(proposal, turn)) == Positions{2, 3});
  CHECK(positions(testing::threshold(0.0)->next_masked(proposal, turn)) == Positions{3});
}

TEST_CASE("ancestral masks by chance as many as were planned: of the visible, and of those drawn") {
  const Proposal proposal = proposal_of({sure(0.9), sure(0.1), sure(0.9), sure(0.1), sure(0.5)}, {1, 1, 1, 0, 0});
  Turn turn = turn_of(2, {0.1, 0.9, 0.5, 0.2, 0.3});
  CHECK(positions(AncestralReveal().next_masked(proposal, turn)) == Positions{1, 2});
  turn.remasked = at::full({1, 1}, 1, at::kLong);
  CHECK(positions(AncestralReveal().next_masked(proposal, turn)) == Positions{1, 4});
}

TEST_CASE("remdm=conf masks a visible token again the likelier, the less probable it was when drawn") {
  const auto policy = testing::confident_ancestral();
  const at::Tensor tokens = at::zeros({1, 4}, at::kLong);
  policy->begin(tokens);
  Turn turn = turn_of(0, {0.5, 0.5, 0.5, 0.5});
  turn.reveal_chance = at::full({1, 1}, 0.6, at::kFloat);
  turn.remask_chance = at::full({1, 1}, 0.9, at::kFloat);
  // First all are drawn, with these probabilities; 0.5 < 0.6, so all are revealed.
  Proposal proposal{tokens, bools({1, 1, 1, 0}), floats({0.2, 0.9, 0.5, 1.0}), {}, {}};
  turn.budget.eligible = bools({1, 1, 1, 0});
  CHECK(positions(policy->next_masked(proposal, turn)).empty());
  // Then none is. Shares exp(-psi) / sum: psi 0.2, 0.9, 0.5.
  proposal.drawn = bools({0, 0, 0, 0});
  const double sum = std::exp(-0.2) + std::exp(-0.9) + std::exp(-0.5);
  const std::vector<double> chance = {0.9 * std::exp(-0.2) / sum, 0.9 * std::exp(-0.9) / sum,
                                      0.9 * std::exp(-0.5) / sum};
  turn.noise = floats({chance[0] - 0.01, chance[1] + 0.01, chance[2] - 0.01, 0.0001});
  CHECK(positions(policy->next_masked(proposal, turn)) == Positions{0, 2});
  // A masked one stays so with chance 1 - 0.6.
  proposal.drawn = bools({1, 1, 1, 0});
  turn.noise = floats({0.59, 0.61, 0.99, 0.99});
  CHECK(positions(policy->next_masked(proposal, turn)) == Positions{1, 2});
}

TEST_CASE("planner weighs kept tokens' doubt by eta") {
  // Kept 0.5 and 0.8, drawn 0.6 and 0.4. log: -0.69, -0.22, -0.51, -0.92.
  const Proposal proposal = proposal_of({sure(0.5), sure(0.8), sure(0.6), sure(0.4)}, {0, 0, 1, 1});
  const std::vector<double> noise(4, 0.5);
  CHECK(positions(testing::planner(1)->next_masked(proposal, turn_of(2, noise))) == Positions{0, 3});
  CHECK(positions(testing::planner(0)->next_masked(proposal, turn_of(2, noise))) == Positions{2, 3});
  CHECK(positions(testing::planner(0.5)->next_masked(proposal, turn_of(2, noise))) == Positions{2, 3});
  CHECK(positions(testing::planner(5)->next_masked(proposal, turn_of(2, noise))) == Positions{0, 1});
}

TEST_CASE("A planner's own model judges the kept tokens, the denoiser those just drawn") {
  // Right with probability 0.9 at the first position, 0.1 at the second.
  FixedLogits fake(at::tensor({0.9, 0.1, 0.1, 0.9, 0.9, 0.1}, at::kDouble).view({3, 2}).log().to(at::kFloat));
  CheckedModel model(fake, "fake");
  const Proposal proposal = proposal_of({sure(0.2), sure(0.99), sure(0.5)}, {0, 0, 1});
  Turn turn = turn_of(1, {0.5, 0.5, 0.5});
  const auto policy = testing::policy_by_model("planner", model, PositiveClass::wrong, {{"eta", 1.0}});
  turn.judged = true;
  CHECK(positions(policy->next_masked(proposal, turn)) == Positions{1});
  turn.judged = false;  // the denoiser's own 0.2
  CHECK(positions(policy->next_masked(proposal, turn)) == Positions{0});
}

TEST_CASE("Remasking by the model's own confidence with randomness 1 is random remasking") {
  const Proposal proposal = proposal_of({sure(0.5), sure(0.6), sure(0.9), sure(0.1)}, {1, 0, 0, 1});
  const Turn turn = turn_of(2, {0.2, 0.9, 0.8, 0.1});
  CHECK(positions(testing::self_confidence(1)->next_masked(proposal, turn)) ==
        positions(testing::random_remasking()->next_masked(proposal, turn)));
}

}  // namespace strategies_test
