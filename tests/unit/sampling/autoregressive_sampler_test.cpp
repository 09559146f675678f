#include "sampling/autoregressive_sampler.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"

using namespace demask;
using demask::testing::FixedLogits;

namespace {

const AutoregressiveOptions options{DrawOptions{}, at::zeros({4}), {0, 1, 2}};
const std::vector<int64_t> no_prompt;

std::vector<AutoregressiveTask> tasks(int64_t first, int64_t count, int64_t new_tokens,
                                      const std::vector<int64_t>& prompt = no_prompt) {
  return consecutive({1337, first}, count, prompt, new_tokens);
}

}  // namespace

TEST_CASE("A sample is its prompt and the tokens after it") {
  FixedLogits fake(at::zeros({10, 4}));
  WatchedModel model(fake, "fake");
  const std::vector<Sample> samples = AutoregressiveSampler(model, options).sample(tasks(2, 2, 5, {3, 1}), nullptr);
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
  for (const Sample& sample : AutoregressiveSampler(model, options).sample(tasks(0, 64, 1), nullptr)) {
    CHECK(sample.tokens.size() == 2);
    first.insert(sample.tokens[0]);
  }
  CHECK(first == std::set<int64_t>{0, 1, 2});
}

TEST_CASE("A sample drawn alone is the one drawn in a batch") {
  FixedLogits fake(at::arange(48, at::kFloat).view({12, 4}).sin());
  WatchedModel model(fake, "fake");
  AutoregressiveSampler sampler(model, options);
  CHECK(sampler.sample(tasks(0, 8, 10), nullptr)[5].tokens == sampler.sample(tasks(5, 1, 10), nullptr)[0].tokens);
}

TEST_CASE("Prompts and lengths of every size in one batch give what each gives alone") {
  FixedLogits fake(at::arange(80, at::kFloat).view({20, 4}).sin());
  WatchedModel model(fake, "fake");
  const std::vector<std::vector<int64_t>> prompts = {{3, 1}, {}, {0, 1, 2, 3, 3, 2, 1}, {2}, {1, 1, 0}};
  const std::vector<int64_t> new_tokens = {3, 9, 2, 12, 1};
  std::vector<AutoregressiveTask> together;
  for (size_t b = 0; b < prompts.size(); ++b) {
    together.push_back({{b % 2 == 0 ? 7U : 8U, static_cast<int64_t>(3 * b)}, &prompts[b], new_tokens[b]});
  }
  AutoregressiveSampler sampler(model, options);
  const std::vector<Sample> samples = sampler.sample(together, nullptr);
  for (size_t b = 0; b < prompts.size(); ++b) {
    CAPTURE(b);
    const Sample alone = AutoregressiveSampler(model, options).sample({together[b]}, nullptr)[0];
    CHECK(samples[b].tokens == alone.tokens);
    CHECK(samples[b].self_confidence == alone.self_confidence);
    CHECK(static_cast<int64_t>(alone.tokens.size()) ==
          static_cast<int64_t>(std::max<size_t>(prompts[b].size(), 1)) + new_tokens[b]);
    CHECK(std::equal(prompts[b].begin(), prompts[b].end(), alone.tokens.begin()));
  }
}
