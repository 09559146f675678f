#include "demask/sampling/autoregressive_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <map>
#include <utility>

#include "demask/sampling/confidence.h"
#include "demask/sampling/noise.h"
#include "demask/sampling/read_back.h"
#include "demask/sampling/step_runner.h"

namespace demask {

// What a step reads and changes, at fixed addresses: a step recorded once serves every token of its phase, in every
// batch of this shape.
struct AutoregressiveSampler::Chain {
  GrowingText text;
  at::Tensor indices;  // [B] int64, global indices of the samples
  at::Tensor step;     // [1] int64
  std::unique_ptr<DecodingSession> session;
  std::map<int64_t, std::unique_ptr<StepRunner>> runners;  // by phase of the session
};

AutoregressiveSampler::AutoregressiveSampler(WatchedModel& model, AutoregressiveOptions options)
    : model_(model), options_(std::move(options)) {}

AutoregressiveSampler::~AutoregressiveSampler() = default;

// [B, P] with P >= 1
at::Tensor AutoregressiveSampler::beginnings(int64_t first_index, int64_t batch,
                                             const std::vector<int64_t>& prompt) const {
  if (!prompt.empty()) {
    return at::tensor(prompt, at::kLong).unsqueeze(0).expand({batch, -1});
  }
  std::vector<int64_t> first;
  for (int64_t b = 0; b < batch; ++b) {
    const auto u = static_cast<double>(uniform_at(options_.seed, first_index + b, 0, 0, Purpose::first_token));
    first.push_back(options_.first_tokens[static_cast<size_t>(u * static_cast<double>(options_.first_tokens.size()))]);
  }
  return at::tensor(first, at::kLong).unsqueeze(1);
}

void AutoregressiveSampler::prepare(int64_t first_index, const at::Tensor& beginning) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  const int64_t batch = beginning.size(0), length = beginning.size(1) + options_.max_new_tokens;
  if (!chain_ || chain_->text.tokens.size(0) != batch || chain_->text.tokens.size(1) != length) {
    chain_.reset();  // first, for its memory
    chain_ = std::make_unique<Chain>();
    chain_->text = {at::empty({batch, length}, integers), at::empty({1}, integers)};
    chain_->indices = at::empty({batch}, integers);
    chain_->step = at::empty({1}, integers);
    chain_->session = model_.begin(chain_->text);
  }
  send(at::arange(first_index, first_index + batch, at::kLong), chain_->indices);
  send(beginning.contiguous(), chain_->text.tokens.narrow(1, 0, beginning.size(1)));
  chain_->text.position.fill_(beginning.size(1) - 1);
  chain_->step.zero_();
  chain_->session->restart(beginning.size(1));
}

void AutoregressiveSampler::step(StepView* view) {
  Chain& chain = *chain_;
  const DrawOptions& draw = options_.draw;
  const at::Tensor logits = chain.session->next_logits();
  const at::Tensor penalized =
      draw.repetition_penalty == 1 || draw.repetition_window == 0
          ? logits
          : penalize_repetition_of_next(logits, last_tokens(chain.text, draw.repetition_window),
                                        draw.repetition_penalty, draw.repetition_window);
  const at::Tensor uniforms = uniform(options_.seed, chain.indices, chain.step, 1, Purpose::draw).squeeze(1);
  const Draw next = draw_tokens_where({}, {}, penalized, options_.forbidden, uniforms, draw, model_.broken());
  chain.text.position.add_(1);
  chain.text.tokens.index_copy_(1, chain.text.position, next.ids.unsqueeze(1));
  chain.step.add_(1);
  if (view != nullptr) {
    view->logits = logits;
    view->filled = next.ids.unsqueeze(1);
    view->probabilities = next.probabilities.unsqueeze(1);
  }
}

void AutoregressiveSampler::run_step(int64_t more) {
  const int64_t phase = chain_->session->phase();
  if (phase < 0) {
    step(nullptr);
    return;
  }
  std::unique_ptr<StepRunner>& runner = chain_->runners[phase];
  if (!runner) {
    runner = make_step_runner([this] { step(nullptr); }, model_.device(), model_.runs_before_recording(),
                              options_.on_unrecordable);
  }
  runner->run(more);
}

std::vector<Sample> AutoregressiveSampler::sample(int64_t first_index, int64_t batch,
                                                  const std::vector<int64_t>& prompt, Observer* observer,
                                                  const std::function<bool()>& interrupted) {
  const c10::InferenceMode inference;
  const int64_t steps = options_.max_new_tokens;
  prepare(first_index, beginnings(first_index, batch, prompt));
  const at::Tensor& tokens = chain_->text.tokens;
  if (observer != nullptr) {
    observer->on_batch(first_index, batch, steps, steps);
  }
  const bool shows_tensors = observer != nullptr && observer->reads_tensors();
  for (int64_t number = 0; number < steps; ++number) {
    throw_if_interrupted(interrupted);
    StepView view;
    if (shows_tensors) {
      step(&view);
    } else {
      run_step(steps - number - 1);
    }
    chain_->session->advance();
    ++forwards_;
    if (observer != nullptr) {
      view.step = number;
      view.steps = steps;
      view.positions = batch * tokens.size(1);
      observer->on_step(view);
    }
  }
  const at::Tensor confidence = next_token_confidence(model_, tokens);
  ++forwards_;
  model_.check();
  std::vector<Sample> samples = read_back(first_index, tokens, confidence);
  if (observer != nullptr) {
    observer->on_batch_done();
  }
  return samples;
}

}  // namespace demask
