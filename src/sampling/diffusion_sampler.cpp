#include "demask/sampling/diffusion_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "demask/sampling/confidence.h"
#include "demask/sampling/noise.h"
#include "demask/sampling/read_back.h"
#include "demask/sampling/step_runner.h"

namespace demask {

int64_t Template::free_positions() const {
  return std::count(fixed.begin(), fixed.end(), false);
}

namespace {

bool penalizes(const DrawOptions& draw) {
  return draw.repetition_penalty != 1 && draw.repetition_window > 0;
}

}  // namespace

Proposal predict(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                 const at::Tensor& uniforms, const DiffusionOptions& options, const at::Tensor& broken) {
  const DrawOptions& draw = options.draw;
  const at::Tensor penalized = penalizes(draw) ? penalize_repetition(logits, tokens, masked.logical_not(),
                                                                     draw.repetition_penalty, draw.repetition_window)
                                               : logits;
  const Draw drawn = draw_tokens_where(masked, tokens, penalized, options.forbidden, uniforms, draw, broken);
  return {drawn.ids, masked, drawn.probabilities};
}

Proposal predict_at(const at::Tensor& logits, const at::Tensor& positions, const at::Tensor& tokens,
                    const at::Tensor& masked, const at::Tensor& uniforms, const DiffusionOptions& options,
                    const at::Tensor& broken) {
  const Draw drawn =
      draw_tokens_where({}, {}, logits, options.forbidden, uniforms.gather(1, positions), options.draw, broken);
  return {tokens.scatter(1, positions, drawn.ids), masked,
          at::ones_like(uniforms).scatter_(1, positions, drawn.probabilities)};
}

// What a step reads and changes: tensors at fixed addresses, so that a step recorded once serves every iteration and
// every batch of this shape.
struct DiffusionSampler::Chain {
  at::Tensor indices;                   // [B] int64, global indices of the samples
  at::Tensor tokens;                    // [B, T] int64
  at::Tensor masked;                    // [B, T] bool
  at::Tensor eligible;                  // [B, T] bool
  at::Tensor counts;                    // [steps] int64, positions to mask again at the end of each step
  at::Tensor step;                      // [1] int64
  int64_t masked_each = 0;              // positions of a text that are masked, the same number for all
  std::unique_ptr<StepRunner> masking;  // steps that mask positions again
  std::unique_ptr<StepRunner> filling;  // steps that do not
};

DiffusionSampler::DiffusionSampler(WatchedModel& model, RevealPolicy& policy, DiffusionOptions options)
    : model_(model), policy_(policy), options_(std::move(options)) {}

DiffusionSampler::~DiffusionSampler() = default;

void DiffusionSampler::prepare(int64_t first_index, int64_t batch, const Template& text,
                               const std::vector<int64_t>& counts) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  if (!chain_ || chain_->tokens.size(0) != batch || chain_->tokens.size(1) != text.length()) {
    chain_.reset();  // first, for its memory
    chain_ = std::make_unique<Chain>();
    chain_->indices = at::empty({batch}, integers);
    chain_->tokens = at::empty({batch, text.length()}, integers);
    chain_->masked = at::empty({batch, text.length()}, integers.dtype(at::kBool));
    chain_->eligible = at::empty_like(chain_->masked);
    chain_->counts = at::empty({options_.schedule.iterations()}, integers);
    chain_->step = at::empty({1}, integers);
    const auto runner = [&](bool masks_again) {
      return make_step_runner([this, masks_again] { step(masks_again, nullptr); }, model_.device(),
                              std::max(model_.runs_before_recording(), policy_.runs_before_recording()),
                              options_.on_unrecordable);
    };
    chain_->masking = runner(true);
    chain_->filling = runner(false);
  }
  send(at::arange(first_index, first_index + batch, at::kLong), chain_->indices);
  send(at::tensor(text.tokens, at::kLong).unsqueeze(0).expand({batch, -1}).contiguous(), chain_->tokens);
  at::eq_out(chain_->masked, chain_->tokens, options_.mask_token_id);
  chain_->eligible.copy_(chain_->masked);
  send(at::tensor(counts, at::kLong), chain_->counts);
  chain_->step.zero_();
  chain_->masked_each = text.free_positions();
}

Proposal DiffusionSampler::propose(StepView* view) {
  Chain& chain = *chain_;
  const at::Tensor uniforms = uniform(options_.seed, chain.indices, chain.step, chain.tokens.size(1), Purpose::draw);
  // On the CPU the shape may follow the number of masked positions; a recorded step's may not, and asking a device
  // which they are would wait for it.
  if (view == nullptr && chain.tokens.is_cpu() && chain.masked_each > 0 && !penalizes(options_.draw)) {
    const at::Tensor positions = chain.masked.nonzero().select(1, 1).reshape({chain.tokens.size(0), chain.masked_each});
    return predict_at(model_.logits_at(chain.tokens, positions), positions, chain.tokens, chain.masked, uniforms,
                      options_, model_.broken());
  }
  const at::Tensor logits = model_.logits(chain.tokens);
  if (view != nullptr) {
    view->logits = logits;
  }
  return predict(logits, chain.tokens, chain.masked, uniforms, options_, model_.broken());
}

void DiffusionSampler::step(bool masks_again, StepView* view) {
  Chain& chain = *chain_;
  const int64_t batch = chain.tokens.size(0), length = chain.tokens.size(1);
  const Proposal proposal = propose(view);
  if (view != nullptr) {
    view->before = chain.tokens.clone();
    view->was_masked = chain.masked.clone();
    view->filled = proposal.tokens;
    view->probabilities = proposal.probabilities;
  }
  if (masks_again) {
    const RemaskBudget budget{chain.eligible, chain.counts.index_select(0, chain.step).expand({batch, 1})};
    const at::Tensor next_masked = policy_.next_masked(
        proposal, uniform(options_.seed, chain.indices, chain.step, length, Purpose::remask), budget);
    chain.masked.copy_(next_masked);
    chain.tokens.copy_(proposal.tokens.masked_fill(next_masked, options_.mask_token_id));
  } else {
    chain.masked.zero_();
    chain.tokens.copy_(proposal.tokens);
  }
  if (view != nullptr) {
    view->after = chain.tokens.clone();
  }
  chain.step.add_(1);
}

std::vector<Sample> DiffusionSampler::sample(int64_t first_index, int64_t batch, const Template& text,
                                             Observer* observer, const std::function<bool()>& interrupted) {
  const c10::InferenceMode inference;
  const int64_t free = text.free_positions();
  const int64_t steps = options_.schedule.iterations();
  std::vector<int64_t> counts;
  for (int64_t step = 0; step < steps; ++step) {
    counts.push_back(options_.schedule.remask_count(step, free));
  }
  prepare(first_index, batch, text, counts);

  if (observer != nullptr) {
    observer->on_batch(first_index, batch, steps, free);
  }
  const bool shows_tensors = observer != nullptr && observer->reads_tensors();
  for (int64_t number = 0; number < steps; ++number) {
    throw_if_interrupted(interrupted);
    const int64_t count = counts[static_cast<size_t>(number)];
    StepView view;
    if (shows_tensors) {
      step(count > 0, &view);
    } else {
      const auto alike = [&](int64_t other) { return (other > 0) == (count > 0); };
      (count > 0 ? chain_->masking : chain_->filling)
          ->run(std::count_if(counts.begin() + number + 1, counts.end(), alike));
    }
    chain_->masked_each = count;
    forwards_ += count > 0 ? 1 + policy_.forwards() : 1;
    if (observer != nullptr) {
      view.step = number;
      view.steps = steps;
      view.masked_before = batch * (number == 0 ? free : counts[static_cast<size_t>(number - 1)]);
      view.masked_after = batch * count;
      view.positions = batch * text.length();
      view.remask_ratio = options_.schedule.remask_ratio(number);
      observer->on_step(view);
    }
  }
  const at::Tensor confidence = self_confidence(model_, chain_->tokens);
  ++forwards_;
  model_.check();
  std::vector<Sample> samples = read_back(first_index, chain_->tokens, confidence);
  if (observer != nullptr) {
    observer->on_batch_done();
  }
  return samples;
}

}  // namespace demask
