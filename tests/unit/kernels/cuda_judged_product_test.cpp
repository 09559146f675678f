// A head's product whose rows are judged while they are in registers, against float64.
#include <cmath>
#include <limits>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::cuda::judged_product;

namespace {

bool judged_products_here() {
  return kernels_here() && kernels::cuda::has_judged_product_for(numbers({4096, 256}, at::kHalf));
}

at::Tensor nothing_broken() {
  return at::zeros({}, at::TensorOptions(at::kBool).device(at::kCUDA));
}

// As some code far from the kernel's tiles counts them: the last, the first, and others.
at::Tensor some_ids(int64_t rows, int64_t outputs) {
  const at::Tensor ids = (at::arange(rows, at::kLong) * 7919) % outputs;
  ids[0] = outputs - 1;
  return ids.to(at::kCUDA);
}

}  // namespace

TEST_CASE("A head's product judges tokens as float64 does, whatever the shape") {
  if (!judged_products_here()) {
    return;
  }
  at::manual_seed(1337);
  struct Shape {
    int64_t rows, inner, weight_rows, outputs;
  };
  // Off every tile's edge, with rows of the weight that are no outputs, of more rows than blocks take at once.
  for (const Shape& shape : {Shape{1, 256, 4096, 4096}, Shape{300, 264, 4104, 4099}, Shape{77, 768, 50264, 50257},
                             Shape{9001, 320, 5000, 4999}}) {
    for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
      CAPTURE(shape.rows, shape.inner, shape.outputs, dtype);
      const at::Tensor x = numbers({1, shape.rows, shape.inner}, dtype),
                       weight = numbers({shape.weight_rows, shape.inner}, dtype).div_(8),
                       ids = some_ids(shape.rows, shape.outputs).unsqueeze(0), broken = nothing_broken();
      const at::Tensor found = exact(judged_product(x, weight, shape.outputs, ids, broken));
      const at::Tensor logits = exact(x).matmul(exact(weight).narrow(0, 0, shape.outputs).t());
      const at::Tensor expected = at::log_softmax(logits, -1).gather(2, ids.to(at::kCPU).unsqueeze(2)).squeeze(2);
      // Sums of `inner` terms in float32, whose root mean square is at most 4 here.
      CHECK((found - expected).abs().max().item<double>() < 2e-4);
      CHECK_FALSE(broken.item<bool>());
      // A row has the same bits alone.
      const int64_t last = shape.rows - 1;
      const at::Tensor alone =
          judged_product(x.narrow(1, last, 1), weight, shape.outputs, ids.narrow(1, last, 1), broken);
      CHECK(at::equal(exact(alone)[0][0], found[0][last]));
    }
  }
}

TEST_CASE("A judged product says where logits are no numbers, and a token that cannot be is none of these") {
  if (!judged_products_here()) {
    return;
  }
  const at::TensorOptions options = at::TensorOptions(at::kBFloat16).device(at::kCUDA);
  const at::Tensor weight = at::zeros({4096, 256}, options), x = at::ones({1, 3, 256}, options);
  const at::Tensor ids = at::full({1, 3}, 17, options.dtype(at::kLong));
  const auto judge = [&](double value) {
    weight[17][0] = value;
    const at::Tensor broken = nothing_broken();
    const at::Tensor found = exact(judged_product(x, weight, 4096, ids, broken));
    return std::pair(found[0][1].item<double>(), broken.item<bool>());
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(std::abs(judge(0).first + std::log(4096)) < 1e-5);
  CHECK(std::abs(judge(1000).first) < 1e-5);
  CHECK(judge(-infinity) == std::pair(-infinity, false));
  CHECK(judge(infinity).second);
  CHECK(judge(std::numeric_limits<double>::quiet_NaN()).second);
}
