// All that stands between two attentions in one kernel: the bits of the kernels that do a step each, and float64's
// numbers.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::Norm;
using kernels::cuda::Between;
using kernels::cuda::Linear;

namespace {

constexpr int64_t width = 256;

bool tile_products_here() {
  return kernels_here() && kernels::cuda::has_tile_products_for(numbers({64, 64}, at::kHalf));
}

struct Case {
  at::ScalarType dtype;
  int64_t batch, length, hidden;
  bool biased;
  int64_t head_width;  // 0: nothing is rotated
  bool last;
};

Linear linear_of(const Case& of, int64_t outputs, int64_t inner) {
  return {numbers({outputs, inner}, of.dtype).div_(std::sqrt(inner)),
          of.biased ? numbers({outputs}, of.dtype) : at::Tensor()};
}
Norm some_norm(const Case& of) {
  return {numbers({width}, of.dtype, 1), of.biased ? numbers({width}, of.dtype) : at::Tensor(), 1e-5, NormKind::layer};
}

Between between_of(const Case& of) {
  Between found{linear_of(of, width, width),
                some_norm(of),
                linear_of(of, of.hidden, width),
                Activation::gelu,
                linear_of(of, width, of.hidden),
                some_norm(of),
                {}};
  if (!of.last) {
    const Linear next = linear_of(of, 3 * width, width);
    found.next = {next.weight, next.bias};
    if (of.head_width > 0) {
      const at::Tensor angle = at::rand({of.length, of.head_width / 2}, next.weight.options().dtype(at::kFloat)).mul(6);
      found.next.angles = at::stack({angle.cos(), angle.sin()}, -1);
      found.next.heads = 2 * width / of.head_width;
      found.next.head_width = of.head_width;
    }
  }
  return found;
}

// By a kernel for each step; x is added to.
at::Tensor by_steps(const at::Tensor& x, const at::Tensor& mixed, const Between& of) {
  using namespace kernels::cuda;
  add_tile_product(x, mixed, {of.projection.weight, of.projection.bias});
  const at::Tensor hidden =
      tile_product(norm(x, of.feed_forward_norm), {of.expand.weight, of.expand.bias, of.activation});
  add_tile_product(x, hidden, {of.contract.weight, of.contract.bias});
  const at::Tensor normed = norm(x, of.next_norm);
  return of.next.weight.defined() ? tile_product(normed, of.next) : normed;
}

at::Tensor exact_product(const at::Tensor& x, const Linear& by) {
  const at::Tensor sums = x.matmul(exact(by.weight).t());
  return by.bias.defined() ? sums + exact(by.bias) : sums;
}

// The last layer's, without a rounding.
at::Tensor exact_norm(const at::Tensor& x, const at::Tensor& mixed, const Between& of) {
  const at::Tensor attended = exact(x) + exact_product(exact(mixed), of.projection);
  const at::Tensor hidden =
      activation_of(exact_product(norm_of(attended, of.feed_forward_norm), of.expand), of.activation);
  return norm_of(attended + exact_product(hidden, of.contract), of.next_norm);
}

}  // namespace

TEST_CASE("One kernel between two attentions gives the bits of a kernel for each step") {
  if (!tile_products_here()) {
    return;
  }
  at::manual_seed(1337);
  // At and off the edges of 64 rows, the fewest and the most rows that it takes, odd and even counts of slices.
  for (const Case& of :
       {Case{at::kBFloat16, 4, 512, 1024, true, 64, false}, Case{at::kBFloat16, 3, 701, 1024, false, 32, false},
        Case{at::kHalf, 1, 4224, 1024, true, 64, false}, Case{at::kHalf, 37, 57, 768, true, 0, false},
        Case{at::kBFloat16, 2, 1025, 256, false, 64, false}, Case{at::kBFloat16, 8, 512, 1024, true, 0, true},
        Case{at::kHalf, 5, 500, 512, false, 0, true}}) {
    CAPTURE(of.dtype, of.batch, of.length, of.hidden, of.biased, of.head_width, of.last);
    const Between between = between_of(of);
    const at::Tensor mixed = numbers({of.batch, of.length, width}, of.dtype),
                     before = numbers({of.batch, of.length, width}, of.dtype), x = before.clone(), own = before.clone();
    const at::Tensor expected = by_steps(x, mixed, between);
    const at::Tensor found = kernels::cuda::between_attentions(own, mixed, between);
    REQUIRE(found.defined());
    CHECK(at::equal(found, expected));
    CHECK((of.last || at::equal(own, x)));
    if (of.last) {
      // Four roundings of sums a few units in size, relative to rows of unit size.
      CHECK(relative_error(found, exact_norm(before, mixed, between)) < (of.dtype == at::kHalf ? 4e-3 : 3e-2));
    }
  }
}

TEST_CASE("Rows and forms that the kernel between two attentions does not take are left as they are") {
  if (!tile_products_here()) {
    return;
  }
  at::manual_seed(1337);
  const Case fits{at::kBFloat16, 4, 512, 1024, true, 64, false};
  const auto refuses = [&](const Case& of, const Between& between) {
    const at::Tensor mixed = numbers({of.batch, of.length, width}, of.dtype), x = mixed.add(1), before = x.clone();
    return !kernels::cuda::between_attentions(x, mixed, between).defined() && at::equal(x, before);
  };
  Case few = fits, many = fits, precise = fits;
  few.batch = 1;
  many.batch = 100;
  precise.dtype = at::kFloat;
  for (const Case& of : {few, many, precise}) {
    CHECK(refuses(of, between_of(of)));
  }
  Between other_norm = between_of(fits), other_activation = between_of(fits), other_hidden = between_of(fits);
  other_norm.next_norm.form = NormKind::rms;
  other_activation.activation = Activation::silu;
  other_hidden.expand = linear_of(fits, 1000, width);
  other_hidden.contract = linear_of(fits, width, 1000);
  for (const Between& between : {other_norm, other_activation, other_hidden}) {
    CHECK(refuses(fits, between));
  }
}
