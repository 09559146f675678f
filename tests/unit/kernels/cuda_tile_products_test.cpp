// Products on the tensor cores of compute capability 9.0 that finish as asked, against float64.
#include <cmath>
#include <limits>

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
  // 64 rows and of 128, and with blocks of 32, 64, 128 and 192 rows that all run at once.
  for (const Shape& shape :
       {Shape{1, 64, 64}, Shape{5, 64, 72}, Shape{77, 200, 136}, Shape{129, 264, 768}, Shape{300, 1024, 1000},
        Shape{2050, 384, 1152}, Shape{3990, 392, 1144}, Shape{2700, 200, 1144}, Shape{9001, 72, 760}}) {
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
          CHECK(relative_error(tile_product(x, {weight, bias, {}, angles, 8 + keys, width}),
                               expected.reshape(sums.sizes())) < tolerance);
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
      for (const kernels::cuda::TileProduct& product :
           {kernels::cuda::TileProduct{weight, bias}, kernels::cuda::TileProduct{weight, bias, Activation::gelu}}) {
        const at::Tensor all = tile_product(x, product);
        // With blocks of 32 rows, of one, two and three warpgroups that all run at once on 132 multiprocessors, and
        // with tiles.
        for (const int64_t rows : {1, 63, 700, 2000, 4000, 6000, 9000}) {
          CAPTURE(dtype, inner, rows, product.activation.has_value());
          CHECK(at::equal(tile_product(x.narrow(1, 0, rows), product), all.narrow(1, 0, rows)));
          CHECK(at::equal(tile_product(x.narrow(1, 20000 - rows, rows), product), all.narrow(1, 20000 - rows, rows)));
        }
      }
    }
  }
}
