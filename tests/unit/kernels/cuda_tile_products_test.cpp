// Products on the tensor cores of compute capability 9.0 that finish as asked, against float64.
#include <cmath>
#include <limits>
#include <utility>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::cuda::tile_product;

namespace {

// Of a weight that every such device takes, in the precisions that they multiply.
bool tile_products_here() {
  return kernels_here() && kernels::cuda::has_tile_products_for(numbers({64, 64}, at::kHalf));
}

const std::vector<std::pair<at::ScalarType, double>> half_precisions = {{at::kHalf, 2e-3}, {at::kBFloat16, 1e-2}};

struct Shape {
  int64_t rows, inner, outputs;
};

at::Tensor product_of(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor sums = exact(x).matmul(exact(weight).t());
  return bias.defined() ? sums + exact(bias) : sums;
}

}  // namespace

TEST_CASE("Products on tensor cores finish as asked, whatever the shape") {
  if (!tile_products_here()) {
    return;
  }
  at::manual_seed(1337);
  // Off every tile's edge, less than one tile, with a weight that a block keeps and one that it does not, in tiles of
  // 64 rows and of 128.
  for (const Shape& shape : {Shape{1, 64, 64}, Shape{5, 64, 72}, Shape{77, 200, 136}, Shape{129, 264, 768},
                             Shape{300, 1024, 1000}, Shape{2050, 384, 1152}, Shape{9001, 72, 760}}) {
    for (const auto& [dtype, tolerance] : half_precisions) {
      for (const bool biased : {false, true}) {
        CAPTURE(shape.rows, shape.inner, shape.outputs, dtype, biased);
        const at::Tensor x = numbers({1, shape.rows, shape.inner}, dtype),
                         weight = numbers({shape.outputs, shape.inner}, dtype).div_(std::sqrt(shape.inner)),
                         bias = biased ? numbers({shape.outputs}, dtype) : at::Tensor();
        const at::Tensor sums = product_of(x, weight, bias);
        CHECK(relative_error(tile_product(x, {weight, bias}), sums) < tolerance);
        const at::Tensor before = numbers({1, shape.rows, shape.outputs}, dtype), onto = before.clone();
        kernels::cuda::add_tile_product(onto, x, {weight, bias});
        CHECK(relative_error(onto, exact(before) + sums) < tolerance);
        for (const Activation form : {Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
          CHECK(relative_error(tile_product(x, {weight, bias, form}), activation_of(sums, form)) < tolerance);
        }
      }
    }
  }
}

TEST_CASE("A product's activation is exact at every argument, and no number stays none") {
  if (!tile_products_here()) {
    return;
  }
  constexpr int64_t count = 4096;
  for (const auto& [dtype, tolerance] : half_precisions) {
    // Each row holds one argument, which the weight's first row passes on as it is.
    const at::Tensor x = at::zeros({1, count, 64}, at::TensorOptions(dtype).device(at::kCUDA));
    x.select(2, 0).copy_(at::linspace(-8, 8, count));
    const at::Tensor weight = at::zeros({64, 64}, x.options());
    weight[0][0] = 1;
    const at::Tensor argument = exact(x.select(2, 0)), expected = activation_of(argument, Activation::gelu);
    const at::Tensor found = exact(tile_product(x, {weight, {}, Activation::gelu}).select(2, 0));
    // Half a unit in the last place for rounding, and 5e-5 for the polynomial.
    const double unit = dtype == at::kHalf ? std::exp2(-11) : std::exp2(-8);
    CHECK(((found - expected).abs() <= expected.abs() * (unit + 6e-5) + 1e-7).all().item<bool>());

    x.select(2, 0).fill_(std::numeric_limits<float>::quiet_NaN());
    CHECK(tile_product(x, {weight, {}, Activation::gelu}).isnan().select(2, 0).all().item<bool>());
  }
}

TEST_CASE("A product rotates queries and keys as the head kernel does, and leaves values alone") {
  if (!tile_products_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : half_precisions) {
    for (const int64_t width : {32, 64, 128}) {
      for (const int64_t keys : {8, 2, 1}) {
        for (const int64_t batch : {3, 40}) {
          CAPTURE(dtype, width, keys, batch);
          const kernels::Heads heads = some_heads(keys, width, dtype, /*normed=*/false, /*rotates=*/true);
          const at::Tensor x = numbers({batch, 13, 96}, dtype), bias = numbers({(8 + 2 * keys) * width}, dtype),
                           weight = numbers({(8 + 2 * keys) * width, 96}, dtype).div_(10);
          const at::Tensor sums = product_of(x, weight, bias);
          const Parts parts = prepared(sums, heads, 0);
          const at::Tensor expected = at::cat({parts.queries, parts.keys, parts.values}, 1).transpose(1, 2);
          const at::Tensor angles = at::stack({heads.cosine, heads.sine}, -1).narrow(0, 0, 13);
          const kernels::cuda::TileProduct product{weight, bias, {}, angles, 8 + keys, width};
          CHECK(relative_error(tile_product(x, product), expected.reshape(sums.sizes())) < tolerance);
          kernels::cuda::TileProduct norms = product;
          norms.norm = kernels::Norm{numbers({96}, dtype, 1), numbers({96}, dtype), 1e-5, NormKind::layer};
          CHECK(at::equal(tile_product(x, norms), tile_product(kernels::cuda::norm(x, *norms.norm), product)));
        }
      }
    }
  }
}

TEST_CASE("A row of a product has the same bits whatever stands beside it") {
  if (!tile_products_here()) {
    return;
  }
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : half_precisions) {
    for (const int64_t inner : {256, 768}) {
      const at::Tensor x = numbers({1, 20000, inner}, dtype), weight = numbers({768, inner}, dtype),
                       bias = numbers({768}, dtype);
      const kernels::cuda::TileProduct product{weight, bias, Activation::gelu};
      const at::Tensor all = tile_product(x, product);
      for (const int64_t rows : {1, 63, 700, 9000}) {
        CAPTURE(dtype, inner, rows);
        CHECK(at::equal(tile_product(x.narrow(1, 0, rows), product), all.narrow(1, 0, rows)));
        CHECK(at::equal(tile_product(x.narrow(1, 20000 - rows, rows), product), all.narrow(1, 20000 - rows, rows)));
      }
    }
  }
}

TEST_CASE("A product that norms its rows is the norm and the product, bit for bit") {
  if (!tile_products_here()) {
    return;
  }
  at::manual_seed(1337);
  // In whole and in partial chunks of a warp, off every tile's edge; with one group of columns a block and with
  // several.
  for (const Shape& shape : {Shape{5, 64, 72}, Shape{77, 200, 136}, Shape{129, 264, 768}, Shape{300, 512, 1000},
                             Shape{2048, 256, 1024}, Shape{300, 1000, 256}}) {
    for (const auto& [dtype, tolerance] : half_precisions) {
      for (const auto& [form, biased] :
           {std::pair(NormKind::layer, true), {NormKind::layer, false}, {NormKind::rms, false}}) {
        CAPTURE(shape.rows, shape.inner, shape.outputs, dtype, form == NormKind::rms, biased);
        // Rows that are far from normed.
        const at::Tensor many = numbers({1, 20000, shape.inner}, dtype, 0.5).mul_(3), x = many.narrow(1, 0, shape.rows),
                         weight = numbers({shape.outputs, shape.inner}, dtype).div_(std::sqrt(shape.inner));
        const kernels::Norm norm{numbers({shape.inner}, dtype, 1),
                                 biased ? numbers({shape.inner}, dtype) : at::Tensor(), 1e-5, form};
        kernels::cuda::TileProduct alone{weight, numbers({shape.outputs}, dtype)}, norms = alone;
        norms.norm = norm;
        const at::Tensor found = tile_product(x, norms);
        CHECK(relative_error(found, product_of(norm_of(exact(x), norm), weight, alone.bias)) < tolerance);
        CHECK(at::equal(found, tile_product(kernels::cuda::norm(x.contiguous(), norm), alone)));
        CHECK(at::equal(found, tile_product(many, norms).narrow(1, 0, shape.rows)));

        alone.activation = norms.activation = Activation::gelu;
        CHECK(at::equal(tile_product(x, norms), tile_product(many, norms).narrow(1, 0, shape.rows)));
      }
    }
  }
}
