// demask's CUDA kernels of a forward, each against its formula in float64.
#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;

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
        const at::Tensor alone = at::empty_like(one);
        kernels::cuda::embed_one(alone, tokens, position, embedding);
        CHECK(at::equal(alone, one));
      }
    }
  }
}

TEST_CASE("Rows that nothing is added to are normed, and have the same bits whatever stands beside them") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : precisions) {
    for (const int64_t width : {8, 256, 264, 384, 512, 2056}) {
      for (const NormKind form : {NormKind::layer, NormKind::rms}) {
        const kernels::Norm norm{numbers({width}, dtype, 1),
                                 form == NormKind::layer ? numbers({width}, dtype) : at::Tensor(), 1e-5, form};
        // So many that short rows are taken two at a time on 132 multiprocessors; an odd number.
        const at::Tensor x = numbers({1, 5003, width}, dtype, 0.5), normed = kernels::cuda::norm(x, norm);
        CHECK(relative_error(normed, norm_of(exact(x), norm)) < tolerance);
        for (const int64_t rows : {1, 3, 700}) {
          CAPTURE(dtype, width, static_cast<int>(form), rows);
          CHECK(at::equal(kernels::cuda::norm(x.narrow(1, 0, rows), norm), normed.narrow(1, 0, rows)));
          CHECK(at::equal(kernels::cuda::norm(x.narrow(1, 5003 - rows, rows), norm),
                          normed.narrow(1, 5003 - rows, rows)));
        }
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
