// The formulas of a forward's CUDA kernels in float64, and numbers to give both.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <utility>
#include <vector>

#include "kernels/cuda.h"

namespace demask {

inline bool kernels_here() {
  return kernels::cuda::built() && at::hasCUDA();
}

inline const std::vector<std::pair<at::ScalarType, double>> precisions = {
    {at::kFloat, 1e-5}, {at::kHalf, 2e-3}, {at::kBFloat16, 1e-2}};

inline at::Tensor numbers(at::IntArrayRef shape, at::ScalarType dtype, double mean = 0) {
  return at::randn(shape, at::TensorOptions(at::kFloat).device(at::kCUDA)).add_(mean).to(dtype);
}

inline at::Tensor exact(const at::Tensor& x) {
  return x.to(at::kCPU, at::kDouble);
}

// What a kernel wrote, and nothing else of what was there: its output must not be NaN anywhere.
inline double relative_error(const at::Tensor& value, const at::Tensor& reference) {
  return ((exact(value) - reference).norm() / reference.norm()).item<double>();
}

inline at::Tensor norm_of(const at::Tensor& x, const kernels::Norm& norm) {
  const at::Tensor centred = norm.form == NormKind::rms ? x : x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor scaled = centred * at::rsqrt(centred.square().mean(-1, /*keepdim=*/true) + norm.epsilon);
  return scaled * exact(norm.weight) + (norm.bias.defined() ? exact(norm.bias) : at::zeros({1}, at::kDouble));
}

inline at::Tensor activation_of(const at::Tensor& x, Activation form) {
  switch (form) {
    case Activation::gelu:
      return x * 0.5 * (1 + at::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return x * 0.5 * (1 + at::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x.pow(3))));
    case Activation::silu:
      return x * at::sigmoid(x);
  }
  return x;
}

// heads [..., T, D] at positions from `first` on.
inline at::Tensor rotated(const at::Tensor& heads, const kernels::Heads& of, int64_t first) {
  if (!of.cosine.defined()) {
    return heads;
  }
  const int64_t half = heads.size(-1) / 2, length = heads.size(-2);
  const at::Tensor c = exact(of.cosine).narrow(0, first, length), s = exact(of.sine).narrow(0, first, length);
  const at::Tensor x = heads.narrow(-1, 0, half), y = heads.narrow(-1, half, half);
  return at::cat({x * c - y * s, y * c + x * s}, -1);
}

struct Parts {
  at::Tensor queries, keys, values;  // [B, H or K, T, D]
};

// Of qkv [B, T, (H + 2K) * D], normed and rotated.
inline Parts prepared(const at::Tensor& qkv, const kernels::Heads& of, int64_t first) {
  const int64_t width = qkv.size(2) / (of.queries + 2 * of.keys);
  const at::Tensor heads = exact(qkv).view({qkv.size(0), qkv.size(1), -1, width}).transpose(1, 2);
  const auto prepare = [&](const at::Tensor& x, const at::Tensor& weight) {
    return rotated(weight.defined() ? norm_of(x, {weight, {}, of.norm_epsilon, NormKind::rms}) : x, of, first);
  };
  return {prepare(heads.narrow(1, 0, of.queries), of.query_weight),
          prepare(heads.narrow(1, of.queries, of.keys), of.key_weight), heads.narrow(1, of.queries + of.keys, of.keys)};
}

inline kernels::Heads some_heads(int64_t keys, int64_t width, at::ScalarType dtype, bool normed, bool rotates) {
  kernels::Heads heads;
  heads.queries = 8;
  heads.keys = keys;
  heads.norm_epsilon = 1e-5;
  if (normed) {
    heads.query_weight = numbers({width}, dtype, 1);
    heads.key_weight = numbers({width}, dtype, 1);
  }
  if (rotates) {
    const at::Tensor angles = at::rand({1300, width / 2}, at::TensorOptions(at::kFloat).device(at::kCUDA)).mul(6);
    heads.cosine = angles.cos();
    heads.sine = angles.sin();
  }
  return heads;
}

}  // namespace demask
