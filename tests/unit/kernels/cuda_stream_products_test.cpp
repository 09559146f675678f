// Products of a few rows by wide matrices on compute capability 9.0, against float64 and against each other.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::cuda::stream_product;

namespace {

constexpr int64_t most_rows = 64;

bool stream_products_here() {
  return kernels_here() && kernels::cuda::has_stream_product_for(numbers({2048, 2048}, at::kBFloat16), most_rows);
}

}  // namespace

TEST_CASE("Products that stream a matrix are exact, and a row's bits depend on no other row") {
  if (!stream_products_here()) {
    return;
  }
  at::manual_seed(1337);
  struct Shape {
    int64_t inner, outputs;
  };
  // Fewer steps than stages, one tile, several rounds of tiles, off every tile's edge.
  for (const Shape& shape :
       {Shape{64, 72}, Shape{200, 136}, Shape{4104, 2056}, Shape{1032, 12712}, Shape{12296, 4104}}) {
    for (const auto& [dtype, tolerance] : {std::pair(at::kHalf, 2e-3), std::pair(at::kBFloat16, 1e-2)}) {
      for (const bool biased : {false, true}) {
        CAPTURE(shape.inner, shape.outputs, dtype, biased);
        const at::Tensor x = numbers({1, most_rows, shape.inner}, dtype),
                         weight = numbers({shape.outputs, shape.inner}, dtype).div_(std::sqrt(shape.inner)),
                         bias = biased ? numbers({shape.outputs}, dtype) : at::Tensor();
        const at::Tensor sums = exact(x).matmul(exact(weight).t()), all = stream_product(x, weight, bias);
        CHECK(relative_error(all, biased ? sums + exact(bias) : sums) < tolerance);
        for (const int64_t rows : {1, 8, 33}) {
          CHECK(at::equal(stream_product(x.narrow(1, 0, rows), weight, bias), all.narrow(1, 0, rows)));
        }
      }
    }
  }
}

TEST_CASE("A row's product by a wide matrix has the same bits among few rows and many") {
  if (!stream_products_here()) {
    return;
  }
  at::manual_seed(1337);
  const at::Tensor x = numbers({1, 5 * most_rows, 4096}, at::kBFloat16),
                   weight = numbers({2048, 4096}, at::kBFloat16).div_(64);
  const at::Tensor all = kernels::cuda::product(x, weight, {});
  for (const int64_t rows : {1, 32, 64, 65}) {
    CHECK(at::equal(kernels::cuda::product(x.narrow(1, 0, rows), weight, {}), all.narrow(1, 0, rows)));
  }
}
