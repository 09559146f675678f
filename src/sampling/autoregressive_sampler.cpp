#include "demask/sampling/autoregressive_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "demask/sampling/confidence.h"
#include "demask/sampling/noise.h"
#include "demask/sampling/read_back.h"

namespace demask {

AutoregressiveSampler::AutoregressiveSampler(WatchedModel& model, AutoregressiveOptions options)
    : model_(model), options_(std::move(options)) {}

// [B, P] with P >= 1
at::Tensor AutoregressiveSampler::beginnings(int64_t first_index, int64_t batch,
                                             const std::vector<int64_t>& prompt) const {
  if (!prompt.empty()) {
    return at::tensor(prompt, at::kLong).to(model_.device()).repeat({batch, 1});
  }
  std::vector<int64_t> first;
  for (int64_t b = 0; b < batch; ++b) {
    const auto u = static_cast<double>(uniform_at(options_.seed, first_index + b, 0, 0, Purpose::first_token));
    first.push_back(options_.first_tokens[static_cast<size_t>(u * static_cast<double>(options_.first_tokens.size()))]);
  }
  return at::tensor(first, at::kLong).to(model_.device()).unsqueeze(1);
}

std::vector<Sample> AutoregressiveSampler::sample(int64_t first_index, int64_t batch,
                                                  const std::vector<int64_t>& prompt, Observer* observer,
                                                  const std::function<bool()>& interrupted) {
  const c10::InferenceMode inference;
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  const at::Tensor indices = at::arange(first_index, first_index + batch, integers);
  const at::Tensor beginning = beginnings(first_index, batch, prompt);
  const int64_t prompt_length = beginning.size(1);
  const int64_t steps = options_.max_new_tokens;
  const DrawOptions& draw = options_.draw;
  const bool penalize = draw.repetition_penalty != 1 && draw.repetition_window > 0;

  const at::Tensor tokens = at::empty({batch, prompt_length + steps}, integers);
  tokens.narrow(1, 0, prompt_length).copy_(beginning);
  const std::unique_ptr<DecodingSession> session = model_.begin(batch, tokens.size(1));
  if (observer != nullptr) {
    observer->on_batch(first_index, batch, steps, steps);
  }
  at::Tensor latest = beginning;
  for (int64_t step = 0; step < steps; ++step) {
    throw_if_interrupted(interrupted);
    const int64_t length = prompt_length + step;
    const at::Tensor logits = session->append(latest);
    const at::Tensor penalized = penalize ? penalize_repetition_of_next(logits, tokens.narrow(1, 0, length),
                                                                        draw.repetition_penalty, draw.repetition_window)
                                          : logits;
    const at::Tensor uniforms = uniform(options_.seed, indices, step, 1, Purpose::draw).squeeze(1);
    const Draw next = draw_tokens(penalized, options_.forbidden, uniforms, draw);
    latest = next.ids.unsqueeze(1);
    tokens.narrow(1, length, 1).copy_(latest);
    if (observer != nullptr) {
      StepView view;
      view.step = step;
      view.steps = steps;
      view.positions = batch * tokens.size(1);
      view.logits = logits;
      view.filled = latest;
      view.probabilities = next.probabilities.unsqueeze(1);
      observer->on_step(view);
    }
  }
  const at::Tensor confidence = next_token_confidence(model_, tokens);
  model_.check();
  std::vector<Sample> samples = read_back(first_index, tokens, confidence);
  if (observer != nullptr) {
    observer->on_batch_done();
  }
  return samples;
}

}  // namespace demask
