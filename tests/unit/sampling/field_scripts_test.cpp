// Settings that stand for the scripts of the field, against these scripts' rules written plainly in float64: LLaDA's
// generate and Dream's diffusion_generate. Counts are those that the projects' own code gave.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "sampling/diffusion_sampler.h"
#include "sampling/strategy_plan.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;

namespace field_scripts_test {
namespace {

constexpr int64_t outputs = 11, mask = 10;

using Row = std::vector<double>;
using Ids = std::vector<int64_t>;

// Logits that depend on every token of the text.
class ContextLogits : public LanguageModel {
 public:
  ContextLogits() { info_.output_size = outputs; }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor logits(const at::Tensor& tokens) override {
    const at::TensorOptions doubles(at::kDouble);
    const at::Tensor position = at::arange(tokens.size(1), doubles), id = at::arange(outputs, doubles);
    const at::Tensor context = (tokens.to(at::kDouble) * 0.7 + position * 0.37).sin().sum(1).view({-1, 1, 1});
    return ((position.unsqueeze(1) * 1.3 + id * (2.1 + position.unsqueeze(1) * 0.01)).unsqueeze(0) + context * 2)
        .sin()
        .mul(3)
        .sub((id == mask).to(at::kDouble) * 3)
        .to(at::kFloat);
  }
  std::vector<Row> rows(const Ids& tokens) {
    const at::Tensor all = logits(at::tensor(tokens, at::kLong).unsqueeze(0)).to(at::kDouble);
    std::vector<Row> rows;
    for (int64_t t = 0; t < all.size(1); ++t) {
      const double* row = all.data_ptr<double>() + t * outputs;
      rows.emplace_back(row, row + outputs);
    }
    return rows;
  }

 private:
  ModelInfo info_;
};

Row softmax(const Row& logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  Row p;
  double sum = 0;
  for (const double logit : logits) {
    p.push_back(std::exp(logit - most));
    sum += p.back();
  }
  for (double& one : p) {
    one /= sum;
  }
  return p;
}

// Positions in descending order of score.
Ids ranked(const Row& scores) {
  Ids order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t left, int64_t right) {
    return scores[static_cast<size_t>(left)] > scores[static_cast<size_t>(right)];
  });
  return order;
}

size_t best_of(const Row& row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// Reveals the `count` masked positions of [first, end) with the highest scores.
void reveal(Ids& text, const std::vector<Row>& logits, Row scores, int64_t first, int64_t end, int64_t count) {
  for (size_t t = 0; t < text.size(); ++t) {
    const auto position = static_cast<int64_t>(t);
    if (text[t] != mask || position < first || position >= end) {
      scores[t] = -std::numeric_limits<double>::infinity();
    }
  }
  const Ids order = ranked(scores);
  for (int64_t k = 0; k < count; ++k) {
    const auto t = static_cast<size_t>(order[static_cast<size_t>(k)]);
    text[t] = static_cast<int64_t>(best_of(logits[t]));
  }
}

Ids masked_text(const Ids& prompt, int64_t length) {
  Ids text = prompt;
  text.resize(prompt.size() + static_cast<size_t>(length), mask);
  return text;
}

// LLaDA: temperature 0, low_confidence.
Ids llada(ContextLogits& model, const Ids& prompt, int64_t length, int64_t steps, int64_t block, double scale) {
  Ids text = masked_text(prompt, length);
  const auto start = static_cast<int64_t>(prompt.size());
  const int64_t steps_a_block = steps / (length / block);
  for (int64_t first = start; first < start + length; first += block) {
    for (int64_t step = 0; step < steps_a_block; ++step) {
      std::vector<Row> logits = model.rows(text);
      Ids unprompted = text;
      std::fill_n(unprompted.begin(), prompt.size(), mask);
      const std::vector<Row> unconditional = model.rows(unprompted);
      Row confidence;
      for (size_t t = 0; t < text.size(); ++t) {
        for (size_t v = 0; v < outputs; ++v) {
          logits[t][v] = unconditional[t][v] + (scale + 1) * (logits[t][v] - unconditional[t][v]);
        }
        confidence.push_back(softmax(logits[t])[best_of(logits[t])]);
      }
      const int64_t count = block / steps_a_block + (step < block % steps_a_block ? 1 : 0);
      reveal(text, logits, confidence, first, first + block, count);
    }
  }
  return text;
}

struct Filters {
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
};

// Dream's: the nucleus, then the k highest, and what is left renormalised.
Row filtered_probabilities(Row logits, const Filters& filters) {
  const Row p = softmax(logits);
  const Ids order = ranked(p);
  double before = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const auto v = static_cast<size_t>(order[rank]);
    if ((filters.top_p && rank > 0 && before > *filters.top_p) ||
        (filters.top_k && static_cast<int64_t>(rank) >= *filters.top_k)) {
      logits[v] = -std::numeric_limits<double>::infinity();
    }
    before += p[v];
  }
  return softmax(logits);
}

double dream_confidence(const std::string& algorithm, Row p) {
  if (algorithm == "entropy") {
    return std::accumulate(p.begin(), p.end(), 0.0,
                           [](double sum, double one) { return sum + one * std::log(one + 1e-10); });
  }
  std::sort(p.begin(), p.end(), std::greater<>());
  return algorithm == "margin" ? p[0] - p[1] : p[0];
}

// Dream: temperature 0, alg_temp 0, eps 1e-3.
Ids dream(ContextLogits& model, const Ids& prompt, int64_t length, int64_t steps, const std::string& algorithm,
          const Filters& filters) {
  Ids text = masked_text(prompt, length);
  for (int64_t i = 0; i < steps; ++i) {
    const auto masked = static_cast<double>(std::count(text.begin(), text.end(), mask));
    const auto time = [&](int64_t k) { return 1 - static_cast<double>(k) * (1 - 1e-3) / static_cast<double>(steps); };
    const auto count = static_cast<int64_t>(i + 1 < steps ? masked * (1 - time(i + 1) / time(i)) : masked);
    const std::vector<Row> logits = model.rows(text);
    Row confidence;
    for (const Row& row : logits) {
      confidence.push_back(dream_confidence(algorithm, filtered_probabilities(row, filters)));
    }
    reveal(text, logits, confidence, 0, static_cast<int64_t>(text.size()), count);
  }
  return text;
}

struct Outcome {
  Ids tokens;
  int64_t forwards = 0;  // the self-confidence's included
};

Outcome draw(ContextLogits& fake, const DiffusionSettings& settings, const Ids& prompt, int64_t length,
             const Filters& filters = {}) {
  CheckedModel model(fake, "fake");
  const auto policy = make_policy(settings, nullptr);
  DiffusionOptions options;
  options.mask_token_id = mask;
  options.forbidden = at::zeros({outputs});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  options.draw.filters.temperature = 0;
  options.draw.filters.top_k = filters.top_k;
  options.draw.filters.top_p = filters.top_p.value_or(1);
  plan_strategy(settings, *policy, options);
  Template text{masked_text(prompt, length), std::vector<bool>(prompt.size(), true)};
  text.fixed.resize(text.tokens.size(), false);
  DiffusionSampler sampler(model, *policy, options);
  Outcome outcome{sampler.sample(consecutive({1337, 0}, 1, text), nullptr)[0].tokens};
  outcome.forwards = sampler.forwards();
  return outcome;
}

DiffusionSettings greedy(const std::string& strategy, int64_t iterations) {
  DiffusionSettings settings = testing::settings_of(strategy);
  settings.temperature = 0;
  settings.diffusion_iterations = iterations;
  return settings;
}

// Positions that each step of a text with so many free ones reveals.
Ids revealed(const DiffusionSettings& settings, int64_t free) {
  const auto policy = make_policy(settings, nullptr);
  DiffusionOptions options;
  plan_strategy(settings, *policy, options);
  Ids counts;
  int64_t block = 0, left = 0;
  for (const PlannedStep& step : options.plan({}, free)) {
    if (counts.empty() || step.block != block) {
      left = settings.block_length.value_or(free);
    }
    block = step.block;
    counts.push_back(left - step.masked);
    left = step.masked;
  }
  return counts;
}

DiffusionSettings dreaming(const std::string& strategy, int64_t iterations) {
  DiffusionSettings settings = greedy(strategy, iterations);
  settings.schedule_type = ScheduleType::dream;
  return settings;
}

const Ids prompt = {3, 1, 4, 1, 5};

}  // namespace

TEST_CASE("Steps and blocks reveal as many positions as in LLaDA's generate, whatever divides") {
  struct Case {
    int64_t steps, block;
    Ids counts;
  };
  for (const Case& one : std::vector<Case>{
           {8, 8, Ids(8, 4)},
           {8, 16, Ids(8, 4)},
           {8, 32, Ids(8, 4)},
           {16, 8, Ids(16, 2)},
           {16, 16, Ids(16, 2)},
           {16, 32, Ids(16, 2)},
           {32, 8, Ids(32, 1)},
           {32, 16, Ids(32, 1)},
           {32, 32, Ids(32, 1)},
           {12, 8, {3, 3, 2, 3, 3, 2, 3, 3, 2, 3, 3, 2}},
           {12, 32, {3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2}},
           {20, 16, {2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1}},
       }) {
    CAPTURE(one.steps, one.block);
    DiffusionSettings settings = greedy("confidence", one.steps);
    settings.block_length = one.block;
    CHECK(revealed(settings, 32) == one.counts);
  }
}

TEST_CASE("schedule_type=dream reveals as many positions a step as Dream's diffusion_generate") {
  // Those of its first steps that reveal nothing are left out, and spent where forwards says how many.
  const Ids ones(30, 1);
  Ids all = ones;
  all.insert(all.begin(), 0);
  all.push_back(2);
  DiffusionSettings settings = dreaming("confidence", 32);
  CHECK(revealed(settings, 32) == Ids(all.begin() + 1, all.end()));
  settings.forwards = 32;
  CHECK(revealed(settings, 32) == all);
  CHECK(revealed(dreaming("margin", 8), 32) == Ids{3, 4, 4, 4, 4, 4, 4, 5});
  CHECK(revealed(dreaming("entropy", 16), 32) == Ids{1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3});
  CHECK(revealed(dreaming("confidence", 20), 24) == Ids{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3});
  CHECK(revealed(dreaming("confidence", 1), 24) == Ids{24});
}

TEST_CASE("Dream's schedule takes more iterations than there are positions, and blocks have one each") {
  const Ids many = revealed(dreaming("confidence", 512), 32);
  CHECK(std::accumulate(many.begin(), many.end(), int64_t{0}) == 32);
  CHECK(*std::min_element(many.begin(), many.end()) == 1);
  DiffusionSettings settings = dreaming("confidence", 16);
  settings.block_length = 16;
  CHECK(revealed(settings, 32) == Ids{1, 2, 2, 2, 2, 2, 2, 3, 1, 2, 2, 2, 2, 2, 2, 3});
}

TEST_CASE("Dream's origin is the strategy ancestral on its schedule: each masked position with the chance 1 - s / t") {
  const DiffusionSettings settings = dreaming("ancestral", 8);
  const auto policy = make_policy(settings, nullptr);
  DiffusionOptions options;
  plan_strategy(settings, *policy, options);
  const Plan plan = options.plan({7, 0}, 1000);
  REQUIRE(plan.size() == 8);
  for (size_t i = 0; i < plan.size(); ++i) {
    const double t = 1 - static_cast<double>(i) * 0.999 / 8, s = t - 0.999 / 8;
    CHECK(plan[i].reveal_chance == Catch::Approx(i + 1 < plan.size() ? 1 - s / t : 1).epsilon(1e-4));
  }
}

TEST_CASE("confidence with blocks and guidance writes what LLaDA's generate does") {
  ContextLogits model;
  for (const double scale : {0.0, 0.5, 1.5}) {
    for (const auto& [steps, block] :
         std::vector<std::pair<int64_t, int64_t>>{{8, 8}, {32, 8}, {16, 16}, {8, 32}, {12, 32}, {20, 16}, {12, 8}}) {
      CAPTURE(scale, steps, block);
      DiffusionSettings settings = greedy("confidence", steps);
      settings.block_length = block;
      settings.cfg_scale = scale;
      const Outcome outcome = draw(model, settings, prompt, 32);
      CHECK(outcome.tokens == llada(model, prompt, 32, steps, block, scale));
      CHECK(outcome.forwards == steps * (scale > 0 ? 2 : 1) + 1);
    }
  }
}

TEST_CASE("confidence, margin and entropy on Dream's schedule write what its diffusion_generate does") {
  ContextLogits model;
  for (const std::string strategy : {"confidence", "margin", "entropy"}) {
    for (const int64_t steps : {1, 8, 20, 32, 100}) {
      CAPTURE(strategy, steps);
      const DiffusionSettings settings = dreaming(strategy, steps);
      CHECK(draw(model, settings, prompt, 24).tokens == dream(model, prompt, 24, steps, strategy, {}));
    }
  }
}

TEST_CASE("confidence_source=filtered ranks by what top_k and top_p leave, as Dream does") {
  ContextLogits model;
  int64_t differ = 0;
  for (const std::string strategy : {"confidence", "margin", "entropy"}) {
    for (const Filters& filters : {Filters{4, {}}, Filters{{}, 0.8}, Filters{{}, 0.5}}) {
      CAPTURE(strategy, filters.top_k.value_or(0), filters.top_p.value_or(1));
      DiffusionSettings settings = dreaming(strategy, 16);
      const Ids plain = draw(model, settings, prompt, 24, filters).tokens;
      settings.confidence_source = ConfidenceSource::filtered;
      const Outcome outcome = draw(model, settings, prompt, 24, filters);
      CHECK(outcome.tokens == dream(model, prompt, 24, 16, strategy, filters));
      differ += outcome.tokens != plain ? 1 : 0;
    }
  }
  CHECK(differ > 0);
}

}  // namespace field_scripts_test
