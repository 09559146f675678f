#include "model/transformer_operations.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace demask {
namespace {

// On the CPU in float32 each sample's product has a shape of its own, [T, in] x [in, out], however many samples run
// beside it: that is what makes a sample independent of its batch, bit for bit, since a BLAS may choose its kernel by
// shape.
bool sample_by_sample(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat;
}

at::Tensor activate_at_once(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::gelu:
      break;
  }
  return at::gelu(x);
}

// As Llama 3.1 stretches long wavelengths, see RotaryScaling.
at::Tensor scale_frequencies(const at::Tensor& frequencies, const RotaryScaling& scaling) {
  const double pi = std::acos(-1.0), original = static_cast<double>(scaling.original_positions);
  const at::Tensor turns = frequencies.mul(original / (2 * pi));  // within the original positions
  const at::Tensor share = turns.sub(scaling.low_frequency_factor)
                               .div(scaling.high_frequency_factor - scaling.low_frequency_factor)
                               .clamp(0, 1);
  return frequencies.mul(share + (1 - share) / scaling.factor);
}

}  // namespace

std::pair<at::Tensor, at::Tensor> rotary_angles(const TransformerDescription& of) {
  const int64_t half = of.head_width / 2;
  at::Tensor frequencies = at::pow(of.rotary_base, at::arange(half, at::kDouble).div(static_cast<double>(-half)));
  if (of.rotary_scaling) {
    frequencies = scale_frequencies(frequencies, *of.rotary_scaling);
  }
  const at::Tensor angles = at::outer(at::arange(of.block_size, at::kDouble), frequencies);
  return {angles.cos(), angles.sin()};
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  if (!sample_by_sample(x)) {
    return activate_at_once(x, activation);
  }
  // LibTorch rounds differently in vectors and in the remainders of its work splits, which move with the tensor's size.
  std::vector<at::Tensor> samples;
  for (int64_t sample = 0; sample < x.size(0); ++sample) {
    samples.push_back(activate_at_once(x[sample], activation));
  }
  return at::stack(samples);
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  if (!sample_by_sample(x)) {
    return at::linear(x, weight);
  }
  // A single row alone would go to another kernel where LibTorch uses MKL: it goes in company, and the copy is dropped.
  const int64_t batch = x.size(0);
  const int64_t rows = at::hasMKL() && batch == 1 && x.size(1) == 1 ? 2 : batch;
  const at::Tensor shared = weight.t().unsqueeze(0).expand({rows, weight.size(1), weight.size(0)});
  return at::bmm(x.expand({rows, x.size(1), x.size(2)}), shared).narrow(0, 0, batch);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!bias.defined()) {
    return product(x, weight);
  }
  return sample_by_sample(x) ? product(x, weight).add_(bias) : at::linear(x, weight, bias);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor wide = x.to(at::promote_types(x.scalar_type(), at::kFloat));
  return wide.mul(at::rsqrt(wide.square().mean(-1, /*keepdim=*/true).add_(epsilon))).to(x.scalar_type()).mul_(weight);
}

at::Tensor rotate(const at::Tensor& heads, const at::Tensor& cosine, const at::Tensor& sine) {
  const int64_t half = heads.size(3) / 2;
  const at::Tensor first = heads.narrow(3, 0, half), second = heads.narrow(3, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, 3);
}

at::Tensor pad_rows(const at::Tensor& parameter) {
  const int64_t surplus = parameter.defined() && parameter.is_cuda() ? parameter.size(0) % 8 : 0;
  if (surplus == 0) {
    return parameter;
  }
  std::vector<int64_t> padding(static_cast<size_t>(2 * parameter.dim()), 0);
  padding.back() = 8 - surplus;
  return at::constant_pad_nd(parameter, padding);
}

}  // namespace demask
