#include "bench/blocks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "bench/peak_memory.h"
#include "bench/random_weights.h"
#include "bench/shapes.h"
#include "bench/timing.h"
#include "core/error.h"
#include "core/names.h"
#include "model/device.h"
#include "model/transformer.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/strategies/policies.h"
#include "sampling/strategies/strategy.h"
#include "sampling/strategy_plan.h"

namespace demask::bench {
namespace {

struct Work {
  int64_t prompt = 0, generated = 0, block_length = 0;
  std::vector<int64_t> steps, texts;
};

// Seconds to reach for one text of the 8B shape, and what the field's own code (Fast-dLLM's) took on an H200.
struct Target {
  CacheKind cache;
  int64_t steps;
  double to_reach, original;
};
const std::vector<Target> targets = {
    {CacheKind::none, 256, 5.2, 8.0}, {CacheKind::dual, 256, 1.5, 10.8}, {CacheKind::dual, 64, 0.5, 2.35}};

std::string beside(const Shape& shape, const Options& options, CacheKind cache, int64_t steps, int64_t texts) {
  const auto target = std::find_if(targets.begin(), targets.end(),
                                   [&](const Target& one) { return one.cache == cache && one.steps == steps; });
  const bool applies = options.device.is_cuda() && shape.name == "llada-8b" && texts == 1 && target != targets.end();
  return applies ? fmt::format(", to reach {} s, Fast-dLLM {} s", target->to_reach, target->original) : "";
}

// LLaDA's own way of filling: greedy, the most confident first.
DiffusionSettings settings_for(const Work& work, CacheKind cache, int64_t steps) {
  DiffusionSettings settings;
  settings.strategy = find_strategy("confidence");
  settings.diffusion_iterations = steps;
  settings.block_length = work.block_length;
  settings.cache = cache;
  settle_strategy(settings, [](std::string_view) { return false; });
  return settings;
}

Template text_of(const Work& work, int64_t mask) {
  const auto prompt = static_cast<size_t>(work.prompt), all = prompt + static_cast<size_t>(work.generated);
  Template text{std::vector<int64_t>(all, mask), std::vector<bool>(all, false)};
  for (size_t position = 0; position < prompt; ++position) {
    text.tokens[position] = static_cast<int64_t>(position * 7919 % 50000);
    text.fixed[position] = true;
  }
  return text;
}

nlohmann::ordered_json time_filling(const Shape& shape, Transformer& transformer, const Work& work, CacheKind cache,
                                    int64_t steps, int64_t texts, const Options& options, std::FILE* file) {
  CheckedModel model(transformer, shape.name);
  const DiffusionSettings settings = settings_for(work, cache, steps);
  const std::unique_ptr<RevealPolicy> policy = make_policy(settings, /*remasking_model=*/nullptr);
  DiffusionOptions filling;
  filling.draw.filters.temperature = 0;
  filling.mask_token_id = shape.description.vocabulary_size - 1;
  filling.forbidden = at::zeros({shape.description.outputs}, at::TensorOptions(at::kFloat).device(options.device));
  filling.forbidden.narrow(0, filling.mask_token_id, 1).fill_(-std::numeric_limits<double>::infinity());
  std::string refusal;
  filling.on_unrecordable = [&refusal](const std::string& reason) { refusal = reason; };
  plan_strategy(settings, *policy, filling);
  DiffusionSampler sampler(model, *policy, filling);
  const Template text = text_of(work, filling.mask_token_id);
  reset_peak_memory(options.device);
  const auto fill = [&] { sampler.sample(consecutive({1337, 0}, texts, text), nullptr); };
  const std::vector<double> every = time_calls(options.device, options.repeats, fill, /*untimed=*/1);
  const Spread seconds = spread(every);
  const int64_t peak = peak_memory_bytes(options.device);
  fmt::print(file,
             "{:<12} {:<6} {:>3} steps, {} texts {:>9.3f} s, {:>8.1f} tokens/s, {:.0f}% of the positions computed, "
             "{:.2f} GiB{}{}\n",
             shape.name, name_of(cache), steps, texts, seconds.median,
             static_cast<double>(work.generated * texts) / seconds.median, 100 * sampler.computed_share(),
             static_cast<double>(peak) / (1 << 30), beside(shape, options, cache, steps, texts),
             refusal.empty() ? "" : ", not recorded: " + refusal);
  std::fflush(file);
  return {{"shape", shape.name},
          {"cache", name_of(cache)},
          {"steps", steps},
          {"texts", texts},
          {"prompt", work.prompt},
          {"generated", work.generated},
          {"block_length", work.block_length},
          {"seconds", spread_json(every)},
          {"computed_share", sampler.computed_share()},
          {"peak_memory_bytes", peak}};
}

}  // namespace

nlohmann::ordered_json run_blocks(const std::string& selection, const std::vector<std::string>& caches,
                                  const Options& options, std::FILE* file) {
  const Work work = options.device.is_cuda() ? Work{512, 256, 32, {256, 64}, {1, 8}} : Work{64, 64, 32, {64, 16}, {1}};
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  fmt::print(file, "\n{} tokens behind a prompt of {}, in blocks of {}\n", work.generated, work.prompt,
             work.block_length);
  for (const Shape& shape : select_shapes(selection)) {
    if (!shape.description.bidirectional) {
      fail(ExitCode::bad_usage, "--blocks: {} writes from left to right and fills no blocks.", shape.name);
    }
    Transformer model(
        random_weights(shape.description, shape.parts, at::TensorOptions(options.dtype).device(options.device)));
    model.keep_batch_invariant(options.batch_invariant);
    for (const int64_t texts : work.texts) {
      for (const int64_t steps : work.steps) {
        for (const CacheKind cache : {CacheKind::none, CacheKind::prefix, CacheKind::dual}) {
          if (std::find(caches.begin(), caches.end(), name_of(cache)) == caches.end()) {
            continue;
          }
          rows.push_back(time_filling(shape, model, work, cache, steps, texts, options, file));
          release_cached_memory(options.device);
        }
      }
    }
  }
  return rows;
}

}  // namespace demask::bench
