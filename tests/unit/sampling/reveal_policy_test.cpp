#include <ATen/ATen.h>

#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;
using demask::testing::FixedLogits;

namespace {

at::Tensor floats(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat).unsqueeze(0);
}
at::Tensor longs(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong).unsqueeze(0);
}

RemaskBudget budget(const std::vector<int64_t>& eligible, int64_t count) {
  return {longs(eligible).to(at::kBool), at::full({1, 1}, count, at::kLong)};
}

// A turn that is judged, where the policy has a model of its own.
Turn turn(const at::Tensor& noise, const RemaskBudget& budget) {
  Turn turn;
  turn.budget = budget;
  turn.noise = noise;
  turn.judged = true;
  return turn;
}

std::vector<int64_t> positions(const Choice& choice) {
  const at::Tensor found = choice.masked()[0].nonzero().flatten();
  return {found.data_ptr<int64_t>(), found.data_ptr<int64_t>() + found.numel()};
}

// Two tokens; position t gives token 0 the probability p[t].
FixedLogits model_with_probabilities(const std::vector<double>& p) {
  const at::Tensor first = at::tensor(p, at::kDouble);
  return FixedLogits(at::stack({first, 1 - first}, 1).log().to(at::kFloat));
}

}  // namespace

TEST_CASE("The highest scores are chosen, the lower position first among equals, never a fixed one") {
  CHECK(positions(highest(floats({1, 5, 3, 4}), budget({1, 1, 1, 1}, 2))) == std::vector<int64_t>{1, 3});
  CHECK(positions(highest(floats({2, 1, 2, 2}), budget({1, 1, 1, 1}, 2))) == std::vector<int64_t>{0, 2});
  CHECK(positions(highest(floats({9, 1, 8, 2}), budget({0, 1, 0, 1}, 1))) == std::vector<int64_t>{3});
  CHECK(positions(highest(floats({9, 1, 8, 2}), budget({0, 1, 0, 1}, 4))) == std::vector<int64_t>{1, 3});
  CHECK(positions(highest(floats({9, 1}), budget({1, 1}, 0))).empty());
  CHECK(positions(lowest(floats({1, 5, 1, 0.5, 1}), budget({1, 1, 1, 0, 1}, 2))) == std::vector<int64_t>{0, 2});
}

TEST_CASE("A share of positions is spread over them, each with that probability") {
  const at::Tensor from = at::tensor({1, 0, 1, 1, 1, 0, 1, 1}, at::kLong).to(at::kBool).unsqueeze(0);  // six of eight
  const at::Tensor share = at::full({1, 1}, 0.4, at::kFloat);
  at::Tensor total = at::zeros({1, 8}, at::kLong);
  const int64_t offsets = 1000;
  for (int64_t k = 0; k < offsets; ++k) {
    const double offset = (static_cast<double>(k) + 0.5) / static_cast<double>(offsets);
    const auto [taken, left] = spread(from, share, at::full({1, 1}, offset, at::kFloat));
    CHECK(taken.logical_xor(left).equal(from));
    const auto count = taken.sum().item<int64_t>();
    CHECK((count == 2 || count == 3));  // 6 * 0.4, rounded
    CHECK_FALSE(taken.logical_and(from.logical_not()).any().item<bool>());
    total.add_(taken);
  }
  for (const int64_t position : {0, 2, 3, 4, 6, 7}) {
    CHECK(std::abs(total[0][position].item<int64_t>() - 400) <= 1);  // over a grid of offsets the share is exact
  }
  CHECK(spread(from, at::ones({1, 1}), at::full({1, 1}, 0.3, at::kFloat)).taken.equal(from));
}

TEST_CASE("Each sample of a batch has its own budget") {
  const at::Tensor scores = floats({3, 2, 1}).repeat({2, 1});
  const RemaskBudget two{at::ones({2, 3}, at::kBool), at::tensor(std::vector<int64_t>{1, 2}, at::kLong).unsqueeze(1)};
  const at::Tensor chosen = highest(scores, two).masked();
  CHECK(chosen[0].sum().item<int64_t>() == 1);
  CHECK(chosen[1].sum().item<int64_t>() == 2);
}

TEST_CASE("Random remasking takes the highest noise") {
  const auto policy = testing::random_remasking();
  CHECK(positions(policy->next_masked({}, turn(floats({0.1, 0.9, 0.5}), budget({1, 1, 1}, 1)))) ==
        std::vector<int64_t>{1});
}

TEST_CASE("Self-confidence remasking blends doubt and noise by the randomness") {
  FixedLogits fake = model_with_probabilities({0.9, 0.2, 0.6});
  CheckedModel model(fake, "fake");
  const at::Tensor tokens = longs({0, 0, 1});  // p of the token in place: 0.9, 0.2, 0.4
  const Proposal proposal{tokens, {}, {}, model.logits(tokens), model.broken()};
  const at::Tensor noise = floats({0.95, 0.1, 0.2});
  const auto chosen = [&](double randomness) {
    const auto policy = testing::self_confidence(randomness);
    return positions(policy->next_masked(proposal, turn(noise, budget({1, 1, 1}, 1))));
  };
  CHECK(chosen(0.0) == std::vector<int64_t>{1});  // doubts 0.1, 0.8, 0.6
  CHECK(chosen(1.0) == std::vector<int64_t>{0});
  CHECK(chosen(0.4) == std::vector<int64_t>{1});  // 0.44, 0.52, 0.44
  CHECK(chosen(0.5) == std::vector<int64_t>{0});  // 0.525, 0.45, 0.40
}

TEST_CASE("A remasking model masks what it calls wrong, whichever class that is") {
  FixedLogits fake = model_with_probabilities({0.9, 0.2, 0.6});  // class 0
  CheckedModel model(fake, "fake");
  const Proposal proposal{longs({0, 0, 0}), {}, {}, {}, {}};
  const auto class_one =
      testing::policy_by_model("remask", model, PositiveClass::wrong, {{"randomness_strength", 0.0}});
  const auto class_zero =
      testing::policy_by_model("remask", model, PositiveClass::correct, {{"randomness_strength", 0.0}});
  CHECK(positions(class_one->next_masked(proposal, turn(floats({0, 0, 0}), budget({1, 1, 1}, 1)))) ==
        std::vector<int64_t>{1});
  CHECK(positions(class_zero->next_masked(proposal, turn(floats({0, 0, 0}), budget({1, 1, 1}, 1)))) ==
        std::vector<int64_t>{0});
}
