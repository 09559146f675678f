// Products of up to eight rows of decoding beside float64 on the host, and a row alone beside the same row among
// others, by bits. Exits with 0 where they agree.
#include "kernels/cuda_rows_few.cuh"
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Shape {
  int64_t rows, inner, outputs;
  bool norms, adds;
};

template <typename T>
struct Product {
  Shape shape;
  std::vector<T> x, weight, bias, gain, shift, before;
};

constexpr float epsilon = 1e-5F;

template <typename T>
std::vector<T> run(const Product<T>& product, bool& taken) {
  const Shape& shape = product.shape;
  Room<T> x(product.x), weight(product.weight), bias(product.bias), gain(product.gain), shift(product.shift);
  Room<T> out(product.before);
  RowProductArguments a;
  a.x = x.data();
  a.weight = weight.data();
  a.bias = bias.data();
  a.out = out.data();
  a.rows = shape.rows;
  a.inner = shape.inner;
  a.outputs = shape.outputs;
  a.norm_weight = shape.norms ? gain.data() : nullptr;
  a.norm_bias = shape.norms ? shift.data() : nullptr;
  a.epsilon = epsilon;
  a.adds = shape.adds;
  taken = few_rows_product(Half<T>::precision, a, nullptr) && taken;
  return out.values();
}

// The row as it is multiplied, rounded where it is normed.
template <typename T>
std::vector<double> input(const Product<T>& product, int64_t row) {
  const int64_t inner = product.shape.inner;
  std::vector<double> values;
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < inner; ++i) {
    values.push_back(exact(product.x[static_cast<size_t>(row * inner + i)]));
    mean += values.back() / static_cast<double>(inner);
  }
  for (const double value : values) {
    variance += (value - mean) * (value - mean) / static_cast<double>(inner);
  }
  for (size_t i = 0; product.shape.norms && i < values.size(); ++i) {
    const double normed = (values[i] - mean) / std::sqrt(variance + static_cast<double>(epsilon));
    values[i] = exact(Half<T>::nearest(normed * exact(product.gain[i]) + exact(product.shift[i])));
  }
  return values;
}

template <typename T>
Difference compared(const Product<T>& product, const std::vector<T>& found) {
  const Shape& shape = product.shape;
  Difference difference;
  for (int64_t row = 0; row < shape.rows; ++row) {
    const std::vector<double> x = input(product, row);
    for (int64_t output = 0; output < shape.outputs; ++output) {
      const auto at = static_cast<size_t>(row * shape.outputs + output);
      double sum = exact(product.bias[static_cast<size_t>(output)]) + (shape.adds ? exact(product.before[at]) : 0);
      for (size_t i = 0; i < x.size(); ++i) {
        sum += x[i] * exact(product.weight[static_cast<size_t>(output * shape.inner) + i]);
      }
      difference.add(exact(found[at]), sum);
    }
  }
  return difference;
}

template <typename T>
bool agrees(const Shape& shape) {
  Product<T> product{shape,
                     numbers<T>(shape.rows * shape.inner, 1, 1),
                     numbers<T>(shape.outputs * shape.inner, 2, 0.2),
                     numbers<T>(shape.outputs, 3, 1),
                     numbers<T>(shape.inner, 4, 1),
                     numbers<T>(shape.inner, 5, 1),
                     numbers<T>(shape.rows * shape.outputs, 6, 1)};
  bool taken = true, alike = true;
  const std::vector<T> found = run(product, taken), x = product.x, before = product.before;
  const double off = compared(product, found).relative();
  for (const int64_t row : {int64_t{0}, shape.rows - 1}) {
    product.shape.rows = 1;
    product.x = part(x, row, 1, shape.inner);
    product.before = part(before, row, 1, shape.outputs);
    alike = same_bits(run(product, taken), part(found, row, 1, shape.outputs)) && alike;
  }
  // A normed value that is rounded the other way is off by as much again.
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.rows) + " rows of " +
                    std::to_string(shape.inner) + " by " + std::to_string(shape.outputs) + " outputs" +
                    (shape.norms ? ", normed" : "") + (shape.adds ? ", added" : ""),
                off, 2 * Half<T>::rounding, taken, /*whole=*/true, alike);
}

}  // namespace

int main() {
  bool fine = true;
  // 4, 8 and 16 warps a block; part of a tile and of a block of values; the last has several tiles for each block.
  for (const Shape& shape :
       {Shape{1, 8, 8, false, false}, Shape{3, 72, 20, true, false}, Shape{8, 200, 136, true, true},
        Shape{2, 1480, 40, true, false}, Shape{7, 3080, 24, false, true}, Shape{5, 72, 16392, true, false},
        // Of one or two rows in few instructions.
        Shape{1, 768, 24, true, false}, Shape{2, 1024, 44, true, false}, Shape{2, 768, 20, false, true},
        Shape{1, 1024, 8, false, false}, Shape{2, 3072, 12, false, true}, Shape{1, 4096, 20, false, true}}) {
    fine = agrees<__half>(shape) && fine;
    fine = agrees<__nv_bfloat16>(shape) && fine;
  }
  return fine ? 0 : 1;
}
