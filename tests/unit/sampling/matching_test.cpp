// Texts that match patterns, drawn by both samplers from a model whose distributions a test chose.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "pattern/token_automaton.h"
#include "sampling/autoregressive_sampler.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/matching_draw.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/unit/sampling/fake_model.h"
#include "tests/unit/sampling/paces.h"
#include "tests/unit/sampling/policies.h"
#include "text/character_vocabulary.h"

using namespace demask;
using demask::testing::FixedLogits;
using Ids = std::vector<int64_t>;

namespace matching_test {
namespace {

constexpr int64_t letters = 3, mask = 3, length = 5;

std::shared_ptr<const TokenAutomaton> pattern_of(const std::string& pattern) {
  const CharacterVocabulary vocabulary({"a", "b", "c"});
  return compile_pattern(pattern, vocabulary, {0, 1, 2}, std::nullopt);
}

std::string spelt(const Ids& ids) {
  std::string text;
  for (const int64_t id : ids) {
    text += static_cast<char>('a' + id);
  }
  return text;
}

// '#' is free.
Template template_of(const std::string& text, const std::string& pattern) {
  Template result;
  for (const char character : text) {
    result.fixed.push_back(character != '#');
    result.tokens.push_back(character == '#' ? mask : character - 'a');
  }
  result.pattern = pattern.empty() ? nullptr : pattern_of(pattern);
  return result;
}

at::Tensor toy_logits() {
  return at::arange(length * (letters + 1), at::kFloat).view({length, letters + 1}).mul(1.7).sin().mul(1.5);
}

DiffusionOptions options_for(int64_t steps, double temperature) {
  DiffusionOptions options;
  options.plan = plan_by(MaskSchedule::linear(steps, 0.8, 0.3), /*judged=*/false);
  options.mask_token_id = mask;
  options.draw.filters.temperature = temperature;
  options.forbidden = at::zeros({letters + 1});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  return options;
}

// Probabilities of all texts that match and fit the template, by their product of softmax(logits / temperature).
std::map<std::string, double> enumerated(const std::string& text, const TokenAutomaton& pattern, double temperature) {
  const at::Tensor p = at::softmax(toy_logits().narrow(1, 0, letters).to(at::kDouble) / temperature, -1);
  std::map<std::string, double> weights;
  double total = 0;
  for (int64_t number = 0; number < static_cast<int64_t>(std::pow(letters, length)); ++number) {
    double weight = 1;
    int64_t rest = number;
    int32_t state = TokenAutomaton::start();
    std::string candidate;
    for (int64_t position = 0; position < length; ++position, rest /= letters) {
      const int64_t id = rest % letters;
      candidate += static_cast<char>('a' + id);
      const char given = text[static_cast<size_t>(position)];
      weight *= given == '#' ? p[position][id].item<double>() : given == candidate.back() ? 1 : 0;
      state = state < 0 ? state : pattern.next_drawn(state, id);
    }
    if (weight > 0 && state >= 0 && pattern.accepts(state)) {
      weights[candidate] = weight;
      total += weight;
    }
  }
  for (auto& entry : weights) {
    entry.second /= total;
  }
  return weights;
}

std::vector<DrawnSample> draw(const Template& text, int64_t samples, int64_t steps, double temperature) {
  FixedLogits fake(toy_logits());
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  return DiffusionSampler(model, *policy, options_for(steps, temperature))
      .sample(consecutive({1337, 0}, samples, text), nullptr);
}

}  // namespace

TEST_CASE(
    "Frequencies of samples are the conditional distribution, with a template or without, in one step or several") {
  // The toy's distributions do not depend on the text, so steps after the first leave the distribution as it is: they
  // draw some positions again, given the others.
  constexpr int64_t samples = testing::sanitized ? 400 : 2000;
  for (const std::string pattern : {"(ab|c)*", "[^b]*b[^b]*", ".*(aa|cc).*"}) {
    for (const std::string text : {"#####", "##c##"}) {
      for (const double temperature : {0.3, 1.0, 2.5}) {
        for (const int64_t steps : {1, 3}) {
          CAPTURE(pattern, text, temperature, steps);
          const auto expected = enumerated(text, *pattern_of(pattern), temperature);
          REQUIRE(!expected.empty());
          std::map<std::string, int64_t> counts;
          for (const DrawnSample& sample : draw(template_of(text, pattern), samples, steps, temperature)) {
            ++counts[spelt(sample.tokens)];
          }
          int64_t found = 0;
          for (const auto& [candidate, p] : expected) {
            const double n = samples;
            found += counts[candidate];
            CHECK(std::abs(static_cast<double>(counts[candidate]) - n * p) <= 4 * std::sqrt(n * p * (1 - p)) + 3);
          }
          CHECK(found == samples);
        }
      }
    }
  }
}

TEST_CASE("At temperature 0 the text is the likeliest that matches") {
  const auto expected = enumerated("#####", *pattern_of("(ab|c)*"), 1);
  const auto likeliest = std::max_element(
      expected.begin(), expected.end(), [](const auto& left, const auto& right) { return left.second < right.second; });
  CHECK(spelt(draw(template_of("#####", "(ab|c)*"), 1, 1, 0)[0].tokens) == likeliest->first);
}

TEST_CASE("A sample that matches a pattern does not depend on its batch, nor do those beside it without one") {
  FixedLogits fake(toy_logits());
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionSampler sampler(model, *policy, options_for(4, 1));
  const Template first = template_of("#####", "(ab|c)*"), second = template_of("##c##", ".*b"),
                 free = template_of("#####", "");
  std::vector<DiffusionTask> mixed;
  for (const Template* text : {&first, &second, &free, &first}) {
    const auto index = static_cast<int64_t>(mixed.size());
    mixed.push_back(consecutive({1337, index}, 1, *text)[0]);
  }
  const std::vector<DrawnSample> together = sampler.sample(mixed, nullptr);
  for (size_t i = 0; i < mixed.size(); ++i) {
    CHECK(sampler.sample({mixed[i]}, nullptr)[0].tokens == together[i].tokens);
  }
}

TEST_CASE("Blocks still to come count for what can be drawn now") {
  FixedLogits fake(toy_logits());
  CheckedModel model(fake, "fake");
  const auto policy = testing::policy_of("confidence");
  DiffusionOptions options = options_for(1, 1);
  options.block_length = 2;
  options.plan = [](const Stream&, int64_t free) { return scheduled_plan(testing::even_pace(6, 2), free); };
  const Template text = template_of("#####", "a.*b|b.*a|c.*c");
  for (const DrawnSample& sample :
       DiffusionSampler(model, *policy, options).sample(consecutive({1337, 0}, 50, text), nullptr)) {
    const std::string ends = {spelt(sample.tokens).front(), spelt(sample.tokens).back()};
    CHECK((ends == "ab" || ends == "ba" || ends == "cc"));
  }
}

TEST_CASE("Where the nucleus leaves no completion, the step is drawn without it") {
  DiffusionOptions options = options_for(1, 1);
  options.draw.filters.top_p = 0.01;  // the likeliest token of each position alone
  FixedLogits fake(toy_logits());
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionSampler sampler(model, *policy, options);
  const at::Tensor likeliest = toy_logits().narrow(1, 0, letters).argmax(-1);
  const std::string favourite = spelt({likeliest.data_ptr<int64_t>(), likeliest.data_ptr<int64_t>() + length});
  for (const std::string only : {"a", "b", "c"}) {
    const std::string pattern = only + "{5}";
    REQUIRE(favourite != std::string(length, only[0]));
    CHECK(spelt(sampler.sample(consecutive({1337, 0}, 1, template_of("#####", pattern)), nullptr)[0].tokens) ==
          std::string(length, only[0]));
  }
  // And where it leaves one, with it.
  CHECK(spelt(sampler.sample(consecutive({1337, 3}, 1, template_of("#####", "[abc]*")), nullptr)[0].tokens) ==
        favourite);
}

TEST_CASE("Logits that are no numbers fail a batch with patterns too") {
  at::Tensor logits = toy_logits();
  logits[2][1] = std::nanf("");
  FixedLogits fake(logits);
  CheckedModel model(fake, "broken.pt");
  const auto policy = testing::random_remasking();
  DiffusionSampler sampler(model, *policy, options_for(1, 1));
  CHECK_THROWS_AS(sampler.sample(consecutive({1337, 0}, 1, template_of("#####", "[ab]*")), nullptr), Error);
  logits.fill_(std::nanf(""));
  CHECK_THROWS_AS(sampler.sample(consecutive({1337, 0}, 1, template_of("#####", "[ab]*")), nullptr), Error);
}

TEST_CASE("The probability of a token is the model's own, whatever the pattern") {
  const Template text = template_of("#####", "a{5}");
  const at::Tensor tokens = at::full({1, length}, mask, at::kLong), masked = at::ones({1, length}, at::kBool);
  Proposal proposal{tokens, masked, at::ones({1, length}), {}, at::zeros({}, at::kBool)};
  const DiffusionOptions options = options_for(1, 1);
  draw_matching({{&text}, tokens, masked, masked, at::full({1, length}, 0.5), {}}, toy_logits().unsqueeze(0),
                options.forbidden, options.draw.filters, proposal);
  const at::Tensor own = at::softmax(toy_logits().narrow(1, 0, letters), -1).select(1, 0);
  CHECK(at::allclose(proposal.probabilities[0], own));
  CHECK((proposal.tokens == 0).all().item<bool>());
}

TEST_CASE("Standard sampling weighs the tokens after which a match is possible by the model alone") {
  FixedLogits fake(toy_logits(), /*causal=*/true);
  CheckedModel model(fake, "fake");
  AutoregressiveOptions options;
  options.draw.filters.temperature = 1;
  options.forbidden = at::zeros({letters + 1});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  options.first_tokens = {0, 1, 2};
  AutoregressiveSampler sampler(model, options);
  MatchRule rule{pattern_of("(ab|c)*"), nullptr, 0};
  rule.reachable = std::make_shared<const Reachable>(*rule.pattern, length);
  const Ids prompt = {0};
  constexpr int64_t samples = 4000;
  std::vector<AutoregressiveTask> tasks = consecutive({1337, 0}, samples, prompt, length - 1);
  for (AutoregressiveTask& task : tasks) {
    task.rule = &rule;
  }
  std::map<std::string, int64_t> counts;
  for (const DrawnSample& sample : sampler.sample(tasks, nullptr)) {
    ++counts[spelt(sample.tokens)];
  }
  // After "ab" comes an a or a c, by the logits that follow position 1; after "aba" a b is all that is possible.
  const at::Tensor logits = toy_logits().to(at::kDouble);
  const auto share = [&](int64_t position) {
    const double a = std::exp(logits[position][0].item<double>()), c = std::exp(logits[position][2].item<double>());
    return a / (a + c);
  };
  const std::map<std::string, double> expected = {
      {"ababc", share(1)}, {"abcab", (1 - share(1)) * share(2)}, {"abccc", (1 - share(1)) * (1 - share(2))}};
  for (const auto& [text, p] : expected) {
    CAPTURE(text);
    const double n = samples;
    CHECK(std::abs(static_cast<double>(counts[text]) - n * p) <= 4 * std::sqrt(n * p * (1 - p)));
  }
  CHECK(counts.size() == expected.size());
}

TEST_CASE("Standard sampling without a prompt begins with a token from which a match is possible") {
  FixedLogits fake(toy_logits(), /*causal=*/true);
  CheckedModel model(fake, "fake");
  AutoregressiveOptions options;
  options.forbidden = at::zeros({letters + 1});
  options.first_tokens = {0, 1, 2};
  AutoregressiveSampler sampler(model, options);
  MatchRule rule{pattern_of("[bc]a*b"), nullptr, 0};
  rule.reachable = std::make_shared<const Reachable>(*rule.pattern, length);
  const Ids prompt;
  std::vector<AutoregressiveTask> tasks = consecutive({1337, 0}, 30, prompt, length - 1);
  for (size_t i = 0; i < tasks.size(); i += 2) {
    tasks[i].rule = &rule;  // beside texts without a pattern
  }
  const std::vector<DrawnSample> samples = sampler.sample(tasks, nullptr);
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::string text = spelt(samples[i].tokens);
    CHECK((i % 2 == 1 || text == "baaab" || text == "caaab"));
    CHECK(sampler.sample({tasks[i]}, nullptr)[0].tokens == samples[i].tokens);
  }
}

}  // namespace matching_test
