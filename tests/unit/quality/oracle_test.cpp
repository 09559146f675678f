#include "bench/quality/oracle.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/catch.h"

using Catch::Approx;
using namespace demask::quality;
using Symbols = std::vector<int64_t>;

namespace {

// What the definition says: the sum over all sequences of states.
double by_definition(const HiddenMarkovChain& chain, const Symbols& text, size_t position, int64_t state) {
  const double here = chain.emission[state][text[position]].item<double>();
  if (position + 1 == text.size()) {
    return here;
  }
  double rest = 0;
  for (int64_t next = 0; next < chain.initial.size(0); ++next) {
    rest += chain.transition[state][next].item<double>() * by_definition(chain, text, position + 1, next);
  }
  return here * rest;
}

double by_definition(const HiddenMarkovChain& chain, const Symbols& text) {
  double sum = 0;
  for (int64_t state = 0; state < chain.initial.size(0); ++state) {
    sum += chain.initial[state].item<double>() * by_definition(chain, text, 0, state);
  }
  return sum;
}

// All texts that hold the visible symbols of `text`, whose masks are 4, and this symbol at this position.
double of_all_with(const HiddenMarkovChain& chain, Symbols text, size_t position, int64_t symbol) {
  text[position] = symbol;
  for (size_t t = 0; t < text.size(); ++t) {
    if (text[t] == chain.symbols()) {
      double sum = 0;
      for (int64_t any = 0; any < chain.symbols(); ++any) {
        sum += of_all_with(chain, text, t, any);
      }
      return sum;
    }
  }
  return by_definition(chain, text);
}

constexpr int64_t length = 4;
constexpr int64_t texts = 20000;
// The distance of so many exact draws leaves its mean by more than this once in 700 times (McDiarmid).
const double deviation = std::sqrt(std::log(2 * 700) / (2.0 * texts));

double distance_of(const std::vector<std::string>& arguments) {
  const Oracle oracle(example_chain(), length);
  return total_variation(oracle.draw(arguments, texts, 7).counts, oracle.probabilities());
}

double chance() {
  return expected_total_variation(Oracle(example_chain(), length).probabilities(), texts);
}

}  // namespace

TEST_CASE("every text's probability is the sum over all sequences of states, and all add up to one") {
  const HiddenMarkovChain chain = example_chain();
  const at::Tensor probabilities = HiddenMarkovModel(chain).probabilities(3);
  REQUIRE(probabilities.numel() == 64);
  CHECK(probabilities.sum().item<double>() == Approx(1));
  CHECK(probabilities[0].item<double>() == Approx(by_definition(chain, {0, 0, 0})));
  CHECK(probabilities[1].item<double>() == Approx(by_definition(chain, {0, 0, 1})));
  CHECK(probabilities[2 * 16 + 3 * 4 + 1].item<double>() == Approx(by_definition(chain, {2, 3, 1})));
}

TEST_CASE("the oracle's conditionals are those of all texts that hold the other visible symbols") {
  const HiddenMarkovChain chain = example_chain();
  HiddenMarkovModel model(chain);
  for (const Symbols& text : {Symbols{4, 4, 4, 4}, Symbols{4, 2, 4, 0}, Symbols{3, 1, 0, 2}}) {
    const at::Tensor given = model.logits(at::tensor(text, at::kLong).unsqueeze(0)).softmax(-1)[0];
    for (size_t t = 0; t < text.size(); ++t) {
      double total = 0;
      for (int64_t symbol = 0; symbol < chain.symbols(); ++symbol) {
        total += of_all_with(chain, text, t, symbol);
      }
      for (int64_t symbol = 0; symbol < chain.symbols(); ++symbol) {
        CHECK(given[static_cast<int64_t>(t)][symbol].item<double>() ==
              Approx(of_all_with(chain, text, t, symbol) / total).epsilon(1e-5));
      }
      CHECK(given[static_cast<int64_t>(t)][chain.symbols()].item<double>() == 0);
    }
  }
}

TEST_CASE("the total variation is the share that comes out otherwise than it should") {
  const at::Tensor half = at::full({2}, 0.5, at::kDouble);
  CHECK(total_variation(at::tensor({5.0, 5.0}, at::kDouble), half) == Approx(0).margin(1e-12));
  CHECK(total_variation(at::tensor({3.0, 1.0}, at::kDouble), half) == Approx(0.25));
  CHECK(total_variation(at::tensor({4.0, 0.0}, at::kDouble), half) == Approx(0.5));
}

TEST_CASE("chance alone leaves the mean over all outcomes") {
  const at::Tensor half = at::full({2}, 0.5, at::kDouble);
  CHECK(expected_total_variation(half, 1) == Approx(0.5));     // one text is all of one kind
  CHECK(expected_total_variation(half, 2) == Approx(0.25));    // both alike, half of the time
  CHECK(expected_total_variation(half, 4) == Approx(0.1875));  // 2/16 at 1/2, 8/16 at 1/4
  CHECK(expected_total_variation(at::tensor({1.0, 0.0}, at::kDouble), 9) == 0);
  // {1/4, 3/4} twice: 0, 1, 2 hits at distances of 1/4, 1/4 and 3/4.
  CHECK(expected_total_variation(at::tensor({0.25, 0.75}, at::kDouble), 2) ==
        Approx((9.0 / 16 + 6.0 / 16) / 4 + 1.0 / 16 * 0.75));
}

TEST_CASE("one token a step in an order that does not look at tokens samples the model's own distribution") {
  CHECK(distance_of({"--strategy=random", "--forwards=4"}) < chance() + deviation);
  CHECK(distance_of({"--strategy=left_to_right", "--forwards=4"}) < chance() + deviation);
}

TEST_CASE("ancestral sampling is exact to the step error") {
  // Two of four tokens are revealed in one step of 256 with a chance of 1 / 256 a pair; only such texts can be wrong.
  CHECK(distance_of({"--strategy=ancestral", "--forwards=256"}) < chance() + deviation + 6.0 / 256);
  // In two steps most texts have such a pair, and the test sees it.
  CHECK(distance_of({"--strategy=ancestral", "--forwards=2"}) > chance() + deviation + 6.0 / 256);
}

TEST_CASE("the oracle sees that confidence and a low temperature sample something else") {
  CHECK(distance_of({"--strategy=confidence", "--forwards=4"}) > chance() + 2 * deviation);
  CHECK(distance_of({"--strategy=random", "--forwards=4", "--temperature=0.5"}) > chance() + 2 * deviation);
}

TEST_CASE("the oracle counts every forward, and draws the same again with the same seed") {
  const Oracle oracle(example_chain(), length);
  const Oracle::Draw draw = oracle.draw({"--strategy=random", "--forwards=3"}, 100, 7);
  CHECK(draw.forwards == 4);  // one tells how sure the model is of the finished text
  CHECK(draw.counts.sum().item<double>() == 100);
  CHECK(at::equal(draw.counts, oracle.draw({"--strategy=random", "--forwards=3"}, 100, 7).counts));
  CHECK_FALSE(at::equal(draw.counts, oracle.draw({"--strategy=random", "--forwards=3"}, 100, 8).counts));
}
