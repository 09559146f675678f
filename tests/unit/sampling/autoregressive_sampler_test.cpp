#include "demask/sampling/autoregressive_sampler.h"

#include <ATen/ATen.h>

#include <set>
#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"

using namespace demask;
using demask::testing::FixedLogits;

namespace {

AutoregressiveOptions options_for(int64_t new_tokens) {
  return {DrawOptions{}, 1337, new_tokens, at::zeros({4}), {0, 1, 2}};
}

}  // namespace

TEST_CASE("A sample is its prompt and the tokens after it") {
  FixedLogits fake(at::zeros({10, 4}));
  WatchedModel model(fake, "fake");
  const std::vector<Sample> samples = AutoregressiveSampler(model, options_for(5)).sample(2, 2, {3, 1}, nullptr, {});
  REQUIRE(samples.size() == 2);
  CHECK(samples[1].index == 3);
  CHECK(samples[0].tokens.size() == 7);
  CHECK(samples[0].tokens[0] == 3);
  CHECK(samples[0].tokens[1] == 1);
  CHECK(samples[0].tokens != samples[1].tokens);
}

TEST_CASE("Without a prompt each sample starts from its own allowed character") {
  FixedLogits fake(at::zeros({10, 4}));
  WatchedModel model(fake, "fake");
  std::set<int64_t> first;
  for (const Sample& sample : AutoregressiveSampler(model, options_for(1)).sample(0, 64, {}, nullptr, {})) {
    CHECK(sample.tokens.size() == 2);
    first.insert(sample.tokens[0]);
  }
  CHECK(first == std::set<int64_t>{0, 1, 2});
}

TEST_CASE("A sample drawn alone is the one drawn in a batch") {
  FixedLogits fake(at::arange(48, at::kFloat).view({12, 4}).sin());
  WatchedModel model(fake, "fake");
  AutoregressiveSampler sampler(model, options_for(10));
  CHECK(sampler.sample(0, 8, {}, nullptr, {})[5].tokens == sampler.sample(5, 1, {}, nullptr, {})[0].tokens);
}
