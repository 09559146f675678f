// Products in int8 of every instruction set that this machine has, against whole numbers.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/cpu.h"
#include "tests/support/catch.h"

using namespace demask::kernels::cpu;

namespace {

std::vector<const Isa*> isas_here() {
  std::vector<const Isa*> isas;
  for (const Isa* isa : {portable_int8(), avx2_int8(), avx_vnni(), avx512_vnni()}) {
    if (isa != nullptr) {
      isas.push_back(isa);
    }
  }
  return isas;
}

// [rows, inner] int64 from -127 to 127, the first of each row one of the two: then a row's scale is exactly 1.
at::Tensor whole_numbers(int64_t rows, int64_t inner) {
  at::Tensor whole = at::randint(-127, 128, {rows, inner}, at::kLong);
  whole.select(1, 0).copy_(at::randint(0, 2, {rows}, at::kLong).mul(254).sub(127));
  return whole;
}

// A power of two for each row, [rows, 1], which scales exactly.
at::Tensor powers_of_two(int64_t rows) {
  return at::pow(2.0, at::arange(rows, at::kFloat).remainder(5) - 2).unsqueeze(1);
}

at::Tensor multiply(const Isa& isa, const at::Tensor& a, const at::Tensor& weight, const at::Tensor& bias = {}) {
  LargePages pages;
  const Linear linear = pack(isa, weight, bias, pages);
  at::Tensor out = at::full({a.size(0), weight.size(0)}, std::nan(""), at::kFloat);
  product(isa, linear, {a.data_ptr(), a.stride(0), a.size(0)}, Epilogue::store_single, out.data_ptr(), weight.size(0));
  return out;
}

using Shape = std::tuple<int64_t, int64_t, int64_t>;  // rows, inner, outputs

// Off the edges of every tile, panel and group of neighbours, and on them.
const std::vector<Shape> shapes = {{1, 1, 1},     {1, 64, 33},   {5, 67, 66},   {7, 3, 17},
                                   {13, 771, 40}, {12, 256, 96}, {37, 130, 31}, {97, 1030, 70}};

}  // namespace

TEST_CASE("Sums in int8 are those of whole numbers, bit for bit, whatever the shape") {
  at::manual_seed(1337);
  for (const auto& [rows, inner, outputs] : shapes) {
    const at::Tensor a = whole_numbers(rows, inner), weight = whole_numbers(outputs, inner);
    const at::Tensor row_sizes = powers_of_two(rows), output_sizes = powers_of_two(outputs);
    const at::Tensor exact = at::mm(a, weight.t()).to(at::kFloat) * row_sizes * output_sizes.t();
    for (const Isa* isa : isas_here()) {
      CAPTURE(isa->name, rows, inner, outputs);
      CHECK(at::equal(multiply(*isa, a.to(at::kFloat) * row_sizes, weight.to(at::kFloat) * output_sizes), exact));
    }
  }
}

TEST_CASE("The largest sums in int8 neither saturate nor overflow") {
  const int64_t inner = 16390;  // longer than a feed-forward of the field's 8B models
  for (const double sign : {1.0, -1.0}) {
    const at::Tensor a = at::full({3, inner}, 127.0), weight = at::full({2, inner}, 127.0 * sign);
    for (const Isa* isa : isas_here()) {
      CAPTURE(isa->name, sign);
      CHECK(at::equal(multiply(*isa, a, weight), at::full({3, 2}, sign * 127 * 127 * static_cast<double>(inner))));
    }
  }
}

TEST_CASE("Weights and activations are rounded to the nearest of 255 steps of their row") {
  at::manual_seed(1337);
  const at::Tensor a = at::randn({9, 131}), weight = at::randn({21, 131}), bias = at::randn({21});
  const auto rounded = [](const at::Tensor& x) {
    const at::Tensor scale = x.abs().amax({1}, true) / 127;
    return at::round(x * (127 / x.abs().amax({1}, true))).to(at::kDouble) * scale.to(at::kDouble);
  };
  const at::Tensor exact = at::mm(rounded(a), rounded(weight).t()) + bias.to(at::kDouble);
  for (const Isa* isa : isas_here()) {
    CAPTURE(isa->name);
    // What is left is float32's rounding of three factors and a sum.
    CHECK(at::allclose(multiply(*isa, a, weight, bias).to(at::kDouble), exact, 1e-6, 2e-6));
    LargePages pages;
    const Linear linear = pack(*isa, weight, {}, pages);
    for (const int64_t output : {0, 15, 16, 20}) {
      at::Tensor row = at::empty({131}, at::kFloat);
      isa->unpack_row(linear.panels.data_ptr(), 131, output, row.data_ptr<float>());
      CHECK(at::allclose(row.to(at::kDouble), rounded(weight)[output], 1e-6, 0));
    }
  }
}

TEST_CASE("A row in int8 is the same bits whatever rows are computed beside it, on every machine") {
  at::manual_seed(1337);
  const at::Tensor a = at::randn({40, 131}), weight = at::randn({70, 131}), bias = at::randn({70});
  const at::Tensor first = multiply(*isas_here().front(), a, weight, bias);
  for (const Isa* isa : isas_here()) {
    CAPTURE(isa->name);
    CHECK(at::equal(multiply(*isa, a, weight, bias), first));
    for (const auto& [from, rows] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {7, 5}, {11, 13}, {39, 1}}) {
      CHECK(at::equal(multiply(*isa, a.narrow(0, from, rows), weight, bias), first.narrow(0, from, rows)));
    }
  }
}

TEST_CASE("Rows of zeros give zero in int8, and a row with NaN or an infinity gives NaN, alone") {
  at::manual_seed(1337);
  at::Tensor a = at::randn({4, 35});
  a[0].zero_();
  a[1][34] = std::numeric_limits<float>::infinity();
  a[2][3] = std::nan("");
  at::Tensor weight = at::randn({5, 35});
  weight[2].zero_();
  for (const Isa* isa : isas_here()) {
    CAPTURE(isa->name);
    const at::Tensor out = multiply(*isa, a, weight);
    CHECK((out[0] == 0).all().item<bool>());
    CHECK(out.narrow(0, 1, 2).isnan().all().item<bool>());
    CHECK(out[3].isfinite().all().item<bool>());
    CHECK(out[3][2].item<float>() == 0);
  }
}
