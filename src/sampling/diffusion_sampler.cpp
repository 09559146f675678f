#include "demask/sampling/diffusion_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "demask/sampling/confidence.h"
#include "demask/sampling/noise.h"
#include "demask/sampling/read_back.h"

namespace demask {

int64_t Template::free_positions() const {
  return std::count(fixed.begin(), fixed.end(), false);
}

Proposal predict(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                 const at::Tensor& uniforms, const DiffusionOptions& options) {
  const DrawOptions& draw = options.draw;
  const at::Tensor penalized =
      draw.repetition_penalty == 1 || draw.repetition_window == 0
          ? logits
          : penalize_repetition(logits, tokens, masked.logical_not(), draw.repetition_penalty, draw.repetition_window);
  const Draw drawn = draw_tokens(penalized, options.forbidden, uniforms, draw);
  return {at::where(masked, drawn.ids, tokens), masked,
          at::where(masked, drawn.probabilities, at::ones_like(drawn.probabilities))};
}

DiffusionSampler::DiffusionSampler(WatchedModel& model, RevealPolicy& policy, DiffusionOptions options)
    : model_(model), policy_(policy), options_(std::move(options)) {}

std::vector<Sample> DiffusionSampler::sample(int64_t first_index, int64_t batch, const Template& text,
                                             Observer* observer, const std::function<bool()>& interrupted) {
  const c10::InferenceMode inference;
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  const int64_t length = text.length();
  const int64_t free = text.free_positions();
  const int64_t steps = options_.schedule.iterations();

  const at::Tensor indices = at::arange(first_index, first_index + batch, integers);
  at::Tensor tokens = at::tensor(text.tokens, at::kLong).to(model_.device()).repeat({batch, 1});
  const at::Tensor eligible = tokens == options_.mask_token_id;
  at::Tensor masked = eligible;

  std::vector<int64_t> counts;
  for (int64_t step = 0; step < steps; ++step) {
    counts.push_back(options_.schedule.remask_count(step, free));
  }
  const at::Tensor device_counts = at::tensor(counts, at::kLong).to(model_.device());

  if (observer != nullptr) {
    observer->on_batch(first_index, batch, steps, free);
  }
  for (int64_t step = 0; step < steps; ++step) {
    throw_if_interrupted(interrupted);
    const at::Tensor logits = model_.logits(tokens);
    const Proposal proposal =
        predict(logits, tokens, masked, uniform(options_.seed, indices, step, length, Purpose::draw), options_);
    at::Tensor next_masked = at::zeros_like(masked);
    if (counts[static_cast<size_t>(step)] > 0) {
      const RemaskBudget budget{eligible, device_counts.narrow(0, step, 1).expand({batch, 1})};
      next_masked =
          policy_.next_masked(proposal, uniform(options_.seed, indices, step, length, Purpose::remask), budget);
    }
    const at::Tensor next_tokens = proposal.tokens.masked_fill(next_masked, options_.mask_token_id);
    if (observer != nullptr) {
      StepView view;
      view.step = step;
      view.steps = steps;
      view.masked_before = batch * (step == 0 ? free : counts[static_cast<size_t>(step - 1)]);
      view.masked_after = batch * counts[static_cast<size_t>(step)];
      view.positions = batch * length;
      view.remask_ratio = options_.schedule.remask_ratio(step);
      view.before = tokens;
      view.was_masked = masked;
      view.logits = logits;
      view.filled = proposal.tokens;
      view.probabilities = proposal.probabilities;
      view.after = next_tokens;
      observer->on_step(view);
    }
    tokens = next_tokens;
    masked = next_masked;
  }
  const at::Tensor confidence = self_confidence(model_, tokens);
  model_.check();
  std::vector<Sample> samples = read_back(first_index, tokens, confidence);
  if (observer != nullptr) {
    observer->on_batch_done();
  }
  return samples;
}

}  // namespace demask
