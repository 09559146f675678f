#include "output/shown_samples.h"

#include <ATen/ATen.h>

namespace demask {
namespace {

template <typename T>
const T* host_data(const at::Tensor& tensor, at::Tensor& owner, at::ScalarType dtype) {
  owner = tensor.to(at::kCPU, dtype).contiguous();
  return owner.data_ptr<T>();
}

}  // namespace

void ShownSamples::begin(const std::vector<SampleInBatch>& batch) {
  batch_ = batch;
  tokens_.assign(batch.size(), {});
}

std::vector<int64_t> ShownSamples::indices() const {
  std::vector<int64_t> indices;
  for (const SampleInBatch& sample : batch_) {
    indices.push_back(sample.identity.index);
  }
  return indices;
}

void ShownSamples::take(const StepView& view) {
  if (diffusion_) {
    take_diffusion_step(view);
  } else {
    take_token(view);
  }
}

void ShownSamples::take_diffusion_step(const StepView& view) {
  at::Tensor before_owner, after_owner, probability_owner;
  const int64_t* before = host_data<int64_t>(view.before, before_owner, at::kLong);
  const int64_t* after = host_data<int64_t>(view.after, after_owner, at::kLong);
  const float* probabilities = host_data<float>(view.probabilities, probability_owner, at::kFloat);
  for (std::vector<ShownToken>& sample : tokens_) {
    const bool first = sample.empty();
    sample.resize(static_cast<size_t>(view.after.size(1)));
    for (ShownToken& token : sample) {
      const int64_t was = *before++, is = *after++;
      const float probability = *probabilities++;
      const bool was_masked = was == mask_token_id_, is_masked = is == mask_token_id_;
      if (is_masked) {
        token = {was, was_masked ? TokenState::masked : TokenState::leaving, 1.0F};
      } else if (was_masked) {
        token = {is, TokenState::drawn, probability};
      } else {
        const bool given = first || token.state == TokenState::given;
        token = {is, given ? TokenState::given : TokenState::kept, token.probability};
      }
    }
  }
}

void ShownSamples::take_token(const StepView& view) {
  at::Tensor before_owner, filled_owner, probability_owner;
  const int64_t* filled = host_data<int64_t>(view.filled, filled_owner, at::kLong);
  const float* probabilities = host_data<float>(view.probabilities, probability_owner, at::kFloat);
  const bool has_prompt = view.step == 0 && view.before.defined();
  const int64_t prompt = has_prompt ? view.before.size(1) : 0;
  const int64_t* before = has_prompt ? host_data<int64_t>(view.before, before_owner, at::kLong) : nullptr;
  for (size_t b = 0; b < tokens_.size(); ++b) {
    std::vector<ShownToken>& sample = tokens_[b];
    for (int64_t i = 0; i < prompt; ++i) {
      sample.push_back({*before++, TokenState::given, 1.0F});
    }
    if (!sample.empty() && sample.back().state == TokenState::drawn) {
      sample.back().state = TokenState::kept;
    }
    const auto position = static_cast<int64_t>(sample.size());
    const SampleInBatch& whole = batch_[b];
    if (position < whole.length) {
      sample.push_back({filled[b], position < whole.given ? TokenState::given : TokenState::drawn, probabilities[b]});
    }
  }
}

}  // namespace demask
