// Texts filled block by block with keys and values kept: where that is exact they are the texts drawn without a cache,
// and elsewhere those of a loop over a reference in float64.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "model/device.h"
#include "model/transformer.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/strategies/strategy.h"
#include "sampling/strategy_plan.h"
#include "tests/support/catch.h"
#include "tests/unit/checkpoint/reference_transformer.h"
#include "tests/unit/model/random_transformer.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;
using namespace demask::testing;

namespace {

using Texts = std::vector<std::vector<int64_t>>;

constexpr int64_t length = 24;
constexpr int64_t block_length = 7;
constexpr int64_t iterations = 12;
constexpr int64_t mask = 60;  // of a vocabulary of 71

NamedDescription mixture(const std::string& name) {
  const std::vector<NamedDescription> all = mixtures();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
  REQUIRE(found != all.end());
  return *found;
}

// Less sharp than they are, so that no two positions are as good as certain.
TransformerWeights soft_weights(const NamedDescription& named, at::ScalarType dtype) {
  TransformerWeights weights = random_weights(named, dtype);
  weights.final_norm.weight.mul_(0.25);
  if (weights.final_norm.bias.defined()) {
    weights.final_norm.bias.mul_(0.25);
  }
  return weights;
}

Template text_given(const std::vector<int64_t>& fixed) {
  Template text{std::vector<int64_t>(length, mask), std::vector<bool>(length, false)};
  for (const int64_t position : fixed) {
    text.tokens[static_cast<size_t>(position)] = 3 + position;
    text.fixed[static_cast<size_t>(position)] = true;
  }
  return text;
}

// Positions 0 and 1 are never both free where logits are shifted and order counts: they have the same.
const Template blank = text_given({}), prompted = text_given({0, 1, 2, 3}), scattered = text_given({0, 5, 11, 20});

struct Outcome {
  Texts texts;
  int64_t forwards = 0;
  double computed_share = 0;
};

DiffusionSettings settings_for(std::string_view strategy, CacheKind cache) {
  DiffusionSettings settings = settings_of(strategy);
  settings.diffusion_iterations = iterations;
  settings.block_length = block_length;
  settings.cache = cache;
  return settings;
}

Outcome draw(LanguageModel& transformer, const DiffusionSettings& settings, const std::vector<DiffusionTask>& tasks,
             double temperature = 1, int64_t times = 1) {
  CheckedModel model(transformer, "random");
  const std::unique_ptr<RevealPolicy> policy = make_policy(settings, /*remasking_model=*/nullptr);
  DiffusionOptions options;
  options.mask_token_id = mask;
  options.draw.filters.temperature = temperature;
  options.forbidden = at::zeros({transformer.info().output_size});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  options.forbidden = options.forbidden.to(transformer.device());
  plan_strategy(settings, *policy, options);
  DiffusionSampler sampler(model, *policy, options);
  Outcome outcome;
  for (int64_t time = 0; time < times; ++time) {
    outcome.texts.clear();
    for (const DrawnSample& sample : sampler.sample(tasks, nullptr)) {
      outcome.texts.push_back(sample.tokens);
    }
  }
  outcome.forwards = sampler.forwards();
  outcome.computed_share = sampler.computed_share();
  return outcome;
}

// The likeliest tokens of the most certain positions, block by block, by the reference alone.
std::vector<int64_t> fill(const ReferenceTransformer& reference, bool shifted, const Template& text, CacheKind cache,
                          const Plan& plan) {
  std::vector<int64_t> tokens = text.tokens, free;
  for (int64_t position = 0; position < length; ++position) {
    if (!text.fixed[static_cast<size_t>(position)]) {
      free.push_back(position);
    }
  }
  ReferenceTransformer::Kept kept;
  int64_t block = -1;
  for (const PlannedStep& step : plan) {
    const auto begin = free.begin() + step.block * block_length;
    const auto end = free.end() - begin > block_length ? begin + block_length : free.end();
    if (step.block != block) {
      kept.first = 0;
      kept.count = length;
    } else {
      kept.first = std::max<int64_t>(0, *begin - (shifted ? 1 : 0));
      kept.count = (cache == CacheKind::dual ? *(end - 1) + 1 : length) - kept.first;
    }
    block = step.block;
    at::Tensor logits = reference.logits(tokens, cache == CacheKind::none ? nullptr : &kept);
    logits.select(1, mask).fill_(-std::numeric_limits<double>::infinity());
    const auto [probabilities, likeliest] = logits.softmax(1).max(1);
    std::vector<int64_t> masked;
    std::copy_if(begin, end, std::back_inserter(masked),
                 [&](int64_t position) { return tokens[static_cast<size_t>(position)] == mask; });
    const auto row = [&](int64_t position) { return shifted ? std::max<int64_t>(0, position - 1) : position; };
    std::stable_sort(masked.begin(), masked.end(), [&, p = probabilities](int64_t left, int64_t right) {
      return p[row(left)].item<double>() > p[row(right)].item<double>();
    });
    for (size_t k = 0; k + static_cast<size_t>(step.masked) < masked.size(); ++k) {
      tokens[static_cast<size_t>(masked[k])] = likeliest[row(masked[k])].item<int64_t>();
    }
  }
  return tokens;
}

}  // namespace

TEST_CASE("A cache's greedy text is that of a loop over whole forwards whose keys and values outside are kept") {
  for (const char* name : {"dream", "gated GELU", "gpt2"}) {
    const NamedDescription named = mixture(name);
    const TransformerWeights exact = random_weights(named, at::kDouble);
    const ReferenceTransformer reference(exact);
    Transformer own(random_weights(named, at::kFloat));
    Transformer plain(random_weights(named, at::kFloat), {}, KernelChoice::libtorch);
    Texts differ;
    for (const CacheKind cache : {CacheKind::none, CacheKind::prefix, CacheKind::dual}) {
      const DiffusionSettings settings = settings_for("confidence", cache);
      for (const Template* text : {&prompted, &scattered}) {  // where all is masked, rotary positions are all alike
        if (text == &scattered && named.name != "gated GELU") {
          continue;  // float32 finds two positions certain that float64 tells apart
        }
        CAPTURE(name, name_of(cache), text->tokens);
        Pace pace;
        pace.steps = iterations;
        pace.schedule = [](int64_t steps) { return MaskSchedule::even(steps); };
        pace.block_length = block_length;
        pace.reveals_only = true;
        const std::vector<int64_t> expected =
            fill(reference, named.description.shifted, *text, cache, scheduled_plan(pace, text->free_positions()));
        for (Transformer* model : {&own, &plain}) {
          CHECK(draw(*model, settings, consecutive({1, 0}, 1, *text), 0).texts == Texts{expected});
        }
        if (text == &prompted) {
          differ.push_back(expected);
        }
      }
    }
    // Random weights see far: were these alike, the caches would not have been used.
    CHECK((differ[0] != differ[2]) == named.description.bidirectional);
    CHECK((differ[0] != differ[1]) == named.description.bidirectional);
  }
}

TEST_CASE("Where a cache is exact every strategy draws the same texts with it, in as many forwards") {
  Transformer causal(random_weights(mixture("gpt2"), at::kFloat)), whole(random_weights(mixture("dream"), at::kFloat));
  for (const Strategy& strategy : strategies()) {
    for (const CacheKind cache : {CacheKind::prefix, CacheKind::dual}) {
      CAPTURE(strategy.name, name_of(cache));
      const std::vector<DiffusionTask> tasks = consecutive({7, 0}, 3, prompted);
      // What a position's distribution did in the blocks before is klass's rule, and nobody computes it.
      if (strategy.name != "klass") {
        const Outcome plain = draw(causal, settings_for(strategy.name, CacheKind::none), tasks);
        const Outcome cached = draw(causal, settings_for(strategy.name, cache), tasks);
        CHECK(cached.texts == plain.texts);
        CHECK(cached.forwards >= plain.forwards);  // more where texts are drawn one by one
        CHECK(cached.computed_share < 0.75);
        CHECK(plain.computed_share == 1);
      }
      // The window is all there is.
      DiffusionSettings settings = settings_for(strategy.name, CacheKind::none);
      settings.block_length = length;
      const std::vector<DiffusionTask> blanks = consecutive({7, 0}, 3, blank);
      const Outcome plain = draw(whole, settings, blanks);
      settings.cache = cache;
      const Outcome cached = draw(whole, settings, blanks);
      CHECK(cached.texts == plain.texts);
      CHECK(cached.computed_share == 1);
    }
  }
}

TEST_CASE("With a cache a text is the same in any batch, whatever the others' prompts, plans and pace") {
  Transformer model(random_weights(mixture("dream"), at::kFloat));
  const Template other = text_given({1, 9, 13, 23});  // as many as `scattered`, in other places
  for (const char* strategy : {"confidence", "threshold", "ancestral", "best"}) {
    for (const CacheKind cache : {CacheKind::prefix, CacheKind::dual}) {
      CAPTURE(strategy, name_of(cache));
      const DiffusionSettings settings = settings_for(strategy, cache);
      std::vector<DiffusionTask> tasks = consecutive({3, 0}, 3, scattered);
      tasks[1].text = &other;
      const Texts together = draw(model, settings, tasks).texts;
      const Texts alike = draw(model, settings, consecutive({3, 0}, 3, scattered)).texts;
      for (size_t k = 0; k < tasks.size(); ++k) {
        CAPTURE(k);
        const std::vector<int64_t> alone = draw(model, settings, {tasks[k]}).texts.front();
        CHECK(together[k] == alone);
        CHECK((k == 1 || alike[k] == alone));
      }
    }
  }
}

TEST_CASE("A cache's forwards are counted each, with the positions that they compute") {
  Transformer plain(random_weights(mixture("gated GELU"), at::kFloat));
  Transformer shifted(random_weights(mixture("dream"), at::kFloat));
  // Blocks of 7, 7 and 6 after a prompt of 4, four steps each, and one forward for the self-confidence.
  const auto share = [](double window_sum) { return (4 * length + 3 * window_sum) / (13.0 * length); };
  const std::vector<DiffusionTask> tasks = consecutive({7, 0}, 2, prompted);
  const Outcome dual = draw(plain, settings_for("confidence", CacheKind::dual), tasks);
  CHECK(dual.forwards == 13);
  CHECK(dual.computed_share == Catch::Approx(share(7 + 7 + 6)));
  CHECK(draw(plain, settings_for("confidence", CacheKind::prefix), tasks).computed_share ==
        Catch::Approx(share(20 + 13 + 6)));
  CHECK(draw(shifted, settings_for("confidence", CacheKind::dual), tasks).computed_share ==
        Catch::Approx(share(8 + 8 + 7)));

  DiffusionSettings guided = settings_for("confidence", CacheKind::dual);
  guided.cfg_scale = 0.5;
  const Outcome twice = draw(plain, guided, tasks);
  CHECK(twice.forwards == 25);
  CHECK(twice.computed_share == Catch::Approx((7 * length + 6 * 20) / (25.0 * length)));
}

TEST_CASE("On CUDA a cache's greedy text is the CPU's, whether steps are recorded or not") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const char* name : {"dream", "gated GELU", "gpt2"}) {
    const TransformerWeights weights = soft_weights(mixture(name), at::kFloat);
    Transformer on_cpu(weights), on_cuda(to_device(weights, at::kCUDA));
    for (const CacheKind cache : {CacheKind::none, CacheKind::prefix, CacheKind::dual}) {
      // The second judges each step by a second forward.
      for (const char* strategy : {"confidence", "remask", "threshold"}) {
        for (const double guidance : {0.0, 0.5}) {
          CAPTURE(name, name_of(cache), strategy, guidance);
          DiffusionSettings settings = settings_for(strategy, cache);
          settings.cfg_scale = guidance;
          const std::vector<DiffusionTask> tasks = consecutive({1, 0}, 3, prompted);
          CHECK(draw(on_cuda, settings, tasks, 0, /*times=*/3).texts == draw(on_cpu, settings, tasks, 0).texts);
        }
      }
    }
  }
}
