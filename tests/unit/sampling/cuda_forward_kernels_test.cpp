// demask's CUDA kernels of a forward, each against its formula in float64.
#include <ATen/ATen.h>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/cuda.h"
#include "model/device.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

bool kernels_here() {
  return kernels::cuda::built() && cuda_device_count() > 0;
}

const std::vector<std::pair<at::ScalarType, double>> precisions = {
    {at::kFloat, 1e-5}, {at::kHalf, 2e-3}, {at::kBFloat16, 1e-2}};

at::Tensor numbers(at::IntArrayRef shape, at::ScalarType dtype, double mean = 0) {
  return at::randn(shape, at::TensorOptions(at::kFloat).device(at::kCUDA)).add_(mean).to(dtype);
}

at::Tensor exact(const at::Tensor& x) {
  return x.to(at::kCPU, at::kDouble);
}

// What a kernel wrote, and nothing else of what was there: its output must not be NaN anywhere.
double relative_error(const at::Tensor& value, const at::Tensor& reference) {
  return ((exact(value) - reference).norm() / reference.norm()).item<double>();
}

at::Tensor norm_of(const at::Tensor& x, const kernels::Norm& norm) {
  const at::Tensor centred = norm.form == NormKind::rms ? x : x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor scaled = centred * at::rsqrt(centred.square().mean(-1, /*keepdim=*/true) + norm.epsilon);
  return scaled * exact(norm.weight) + (norm.bias.defined() ? exact(norm.bias) : at::zeros({1}, at::kDouble));
}

at::Tensor activation_of(const at::Tensor& x, Activation form) {
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
at::Tensor rotated(const at::Tensor& heads, const kernels::Heads& of, int64_t first) {
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
Parts prepared(const at::Tensor& qkv, const kernels::Heads& of, int64_t first) {
  const int64_t width = qkv.size(2) / (of.queries + 2 * of.keys);
  const at::Tensor heads = exact(qkv).view({qkv.size(0), qkv.size(1), -1, width}).transpose(1, 2);
  const auto prepare = [&](const at::Tensor& x, const at::Tensor& weight) {
    return rotated(weight.defined() ? norm_of(x, {weight, {}, of.norm_epsilon, NormKind::rms}) : x, of, first);
  };
  return {prepare(heads.narrow(1, 0, of.queries), of.query_weight),
          prepare(heads.narrow(1, of.queries, of.keys), of.key_weight), heads.narrow(1, of.queries + of.keys, of.keys)};
}

kernels::Heads some_heads(int64_t keys, int64_t width, at::ScalarType dtype, bool normed, bool rotates) {
  kernels::Heads heads;
  heads.queries = 8;
  heads.keys = keys;
  heads.norm_epsilon = 1e-5;
  if (normed) {
    heads.query_weight = numbers({width}, dtype, 1);
    heads.key_weight = numbers({width}, dtype, 1);
  }
  if (rotates) {
    const at::Tensor angles = at::rand({700, width / 2}, at::TensorOptions(at::kFloat).device(at::kCUDA)).mul(6);
    heads.cosine = angles.cos();
    heads.sine = angles.sin();
  }
  return heads;
}

}  // namespace

TEST_CASE("The norm kernels add and norm rows of every width") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : precisions) {
    for (const int64_t width : {8, 96, 768, 1024, 2048, 2056, 3584, 4096, 8192}) {
      for (const NormKind form : {NormKind::layer, NormKind::rms}) {
        CAPTURE(dtype, width, static_cast<int>(form));
        const kernels::Norm norm{numbers({width}, dtype, 1),
                                 form == NormKind::layer ? numbers({width}, dtype) : at::Tensor(), 1e-5, form};
        const at::Tensor x = numbers({3, 7, width}, dtype, 0.5), update = numbers({3, 7, width}, dtype),
                         bias = numbers({width}, dtype);
        const at::Tensor sum = exact(x) + exact(update) + exact(bias);
        const at::Tensor normed = kernels::cuda::add_and_norm(x, update, bias, norm);
        CHECK(relative_error(x, sum) < tolerance);
        CHECK(relative_error(normed, norm_of(sum, norm)) < tolerance);

        const kernels::Embedding embedding{numbers({50, width}, dtype), numbers({20, width}, dtype)};
        const at::Tensor tokens = at::randint(50, {3, 7}, at::TensorOptions(at::kLong).device(at::kCUDA));
        const at::Tensor embedded = exact(embedding.token.index_select(0, tokens.view({-1}))).view({3, 7, width}) +
                                    exact(embedding.position).narrow(0, 0, 7);
        CHECK(relative_error(kernels::cuda::embed_and_norm(x, tokens, embedding, norm), norm_of(embedded, norm)) <
              tolerance);
        CHECK(relative_error(x, embedded) < tolerance);
        const at::Tensor one = at::empty({3, 1, width}, x.options());
        const at::Tensor position = at::full({1}, 4, tokens.options());
        CHECK(relative_error(kernels::cuda::embed_one_and_norm(one, tokens, position, embedding, norm),
                             norm_of(embedded.narrow(1, 4, 1), norm)) < tolerance);
      }
    }
  }
}

TEST_CASE("The head kernel norms and rotates queries and keys, and leaves values alone") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : precisions) {
    for (const int64_t width : {16, 64, 128}) {
      for (const int64_t keys : {8, 2, 1}) {
        for (const bool normed : {false, true}) {
          CAPTURE(dtype, width, keys, normed);
          const kernels::Heads heads = some_heads(keys, width, dtype, normed, /*rotates=*/true);
          const at::Tensor qkv = numbers({3, 11, (8 + 2 * keys) * width}, dtype);
          const Parts parts = prepared(qkv, heads, 5);
          kernels::cuda::prepare_heads(qkv, heads, 5);
          const at::Tensor all = at::cat({parts.queries, parts.keys, parts.values}, 1).transpose(1, 2);
          CHECK(relative_error(qkv, all.reshape(qkv.sizes())) < tolerance);
        }
      }
    }
  }
}

TEST_CASE("The activation kernels compute every activation, with bias or without, gated or not") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : precisions) {
    for (const Activation form : {Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
      for (const int64_t width : {8, 1032, 3072}) {
        for (const bool biased : {false, true}) {
          CAPTURE(dtype, static_cast<int>(form), width, biased);
          const at::Tensor x = numbers({2, 5, 2 * width}, dtype).mul_(4);
          const at::Tensor bias = biased ? numbers({2 * width}, dtype) : at::Tensor();
          const at::Tensor sum = biased ? exact(x) + exact(bias) : exact(x);
          CHECK(relative_error(kernels::cuda::gate(x, bias, form),
                               activation_of(sum.narrow(2, 0, width), form) * sum.narrow(2, width, width)) < tolerance);
          kernels::cuda::bias_and_activation(x, bias, form);
          CHECK(relative_error(x, activation_of(sum, form)) < tolerance);
          // Far from zero an activation is its argument or nothing.
          const at::Tensor far = at::tensor({-60000.0, 60000.0, -50.0, 50.0, 0.0, -0.0, -1e-3, 1e-3}, at::kFloat)
                                     .to(at::kCUDA, dtype)
                                     .view({1, 1, 8});
          const at::Tensor before = exact(far);
          kernels::cuda::bias_and_activation(far, {}, form);
          CHECK(relative_error(far, activation_of(before, form)) < tolerance);
        }
      }
    }
  }
}

TEST_CASE("The decoding kernel attends to the past and to the new token, whose key and value it keeps") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  constexpr int64_t capacity = 610;
  for (const auto& [dtype, tolerance] : precisions) {
    for (const int64_t width : {16, 64, 128}) {
      for (const int64_t keys : {8, 2, 1}) {
        for (const int64_t batch : {1, 3, 80}) {  // few blocks, and more than there are multiprocessors
          for (const int64_t position : {0, 1, 31, 600}) {
            CAPTURE(dtype, width, keys, batch, position);
            const kernels::Heads heads = some_heads(keys, width, dtype, position % 2 == 1, keys != 2);
            const at::Tensor qkv = numbers({batch, 1, (8 + 2 * keys) * width}, dtype);
            const at::Tensor cached_keys = numbers({batch, keys, capacity, width}, dtype),
                             cached_values = numbers({batch, keys, capacity, width}, dtype);
            const Parts parts = prepared(qkv, heads, position);
            at::Tensor all_keys = exact(cached_keys), all_values = exact(cached_values);
            all_keys.narrow(2, position, 1).copy_(parts.keys);
            all_values.narrow(2, position, 1).copy_(parts.values);
            const auto seen = [&](const at::Tensor& x) {
              return x.narrow(2, 0, position + 1).repeat_interleave(8 / keys, 1);
            };
            const at::Tensor scores =
                at::matmul(parts.queries, seen(all_keys).transpose(2, 3)) / std::sqrt(static_cast<double>(width));
            const at::Tensor mixed = at::matmul(at::softmax(scores, -1), seen(all_values)).transpose(1, 2);
            const at::Tensor out =
                kernels::cuda::decode_attention(qkv, heads, cached_keys, cached_values,
                                                at::full({1}, position, at::device(at::kCUDA).dtype(at::kLong)));
            CHECK(relative_error(out, mixed.reshape(out.sizes())) < 2 * tolerance);
            CHECK(relative_error(cached_keys, all_keys) < tolerance);
            CHECK(relative_error(cached_values, all_values) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("Products of a few rows do what stands before and after them, a row the same whatever runs beside it") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : precisions) {
    for (const auto& [inner, outputs] :
         std::vector<std::pair<int64_t, int64_t>>{{8, 3}, {768, 2304}, {1032, 50}, {3072, 768}, {1024, 5000}}) {
      for (const int64_t rows : {1, 2, 3, 4, 7, 8}) {
        for (const bool gated : {false, true}) {
          for (const int norm : {0, 1, 2}) {
            if (!kernels::cuda::has_row_products_for(rows, inner, numbers({1}, dtype))) {
              continue;
            }
            CAPTURE(dtype, inner, outputs, rows, gated, norm);
            const at::Tensor x = numbers({rows, 1, inner}, dtype);
            kernels::cuda::RowProduct product;
            product.weight =
                (numbers({(gated ? 2 : 1) * outputs, inner}, at::kFloat) / std::sqrt(static_cast<double>(inner)))
                    .to(dtype);
            product.bias = norm == 1 ? at::Tensor() : numbers({product.weight.size(0)}, dtype);
            if (norm > 0) {
              product.norm =
                  kernels::Norm{numbers({inner}, dtype, 1), norm == 1 ? numbers({inner}, dtype) : at::Tensor(), 1e-5,
                                norm == 1 ? NormKind::layer : NormKind::rms};
            }
            product.gated = gated;
            product.activation = gated ? Activation::silu : Activation::gelu_tanh;
            at::Tensor sums =
                at::matmul(norm > 0 ? norm_of(exact(x), *product.norm) : exact(x), exact(product.weight).t());
            sums = product.bias.defined() ? sums + exact(product.bias) : sums;
            const at::Tensor active = activation_of(sums.narrow(2, 0, outputs), product.activation);
            const at::Tensor expected = gated ? active * sums.narrow(2, outputs, outputs) : active;
            const at::Tensor out = kernels::cuda::row_product(x, product);
            CHECK(relative_error(out, expected) < 2 * tolerance);
            CHECK(at::equal(kernels::cuda::row_product(x.narrow(0, rows - 1, 1), product), out.narrow(0, rows - 1, 1)));
            const at::Tensor onto = numbers(out.sizes(), dtype), both = exact(onto) + expected;
            kernels::cuda::add_row_product(onto, x, product);
            CHECK(relative_error(onto, both) < 2 * tolerance);
          }
        }
      }
    }
  }
}
