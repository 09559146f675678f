// Products that stream a matrix beside float64 on the host, and a row alone beside the same row among others, by bits.
// Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Shape {
  int64_t rows, inner, outputs;
};

// Matrices of a product; a bias of no values is none.
template <typename T>
struct Product {
  Shape shape;
  std::vector<T> x, weight, bias;
};

template <typename T>
std::vector<T> run(const Product<T>& product, bool& taken, bool& whole) {
  const Shape& shape = product.shape;
  Room<T> x(product.x), weight(product.weight), bias(product.bias);
  Written<T> out(shape.rows * shape.outputs);
  TileProductArguments a;
  a.x = x.data();
  a.weight = weight.data();
  a.bias = product.bias.empty() ? nullptr : bias.data();
  a.out = out.data();
  a.rows = shape.rows;
  a.inner = shape.inner;
  a.outputs = shape.outputs;
  taken = taken && takes_stream_product(shape.rows) && stream_product(Half<T>::precision, a, nullptr);
  return out.values(whole);
}

template <typename T>
Difference compared(const Product<T>& product, const std::vector<T>& found) {
  const Shape& shape = product.shape;
  Difference difference;
  for (int64_t at = 0; at < shape.rows * shape.outputs; ++at) {
    const int64_t row = at / shape.outputs, output = at % shape.outputs;
    double sum = product.bias.empty() ? 0 : exact(product.bias[static_cast<size_t>(output)]);
    for (int64_t i = 0; i < shape.inner; ++i) {
      sum += exact(product.x[static_cast<size_t>(row * shape.inner + i)]) *
             exact(product.weight[static_cast<size_t>(output * shape.inner + i)]);
    }
    difference.add(exact(found[static_cast<size_t>(at)]), sum);
  }
  return difference;
}

template <typename T>
bool agrees(const Shape& shape, bool biased) {
  Product<T> product{shape, numbers<T>(shape.rows * shape.inner, 1, 1), numbers<T>(shape.outputs * shape.inner, 2, 0.2),
                     numbers<T>(biased ? shape.outputs : 0, 3, 1)};
  bool taken = true, whole = true, alike = true;
  const std::vector<T> found = run(product, taken, whole);
  const double off = compared(product, found).relative();
  const std::vector<T> x = product.x;
  for (const int64_t row : {int64_t{0}, shape.rows - 1}) {
    product.shape.rows = 1;
    product.x = part(x, row, 1, shape.inner);
    alike = same_bits(run(product, taken, whole), part(found, row, 1, shape.outputs)) && alike;
  }
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.rows) + " rows of " +
                    std::to_string(shape.inner) + " by " + std::to_string(shape.outputs) + " outputs" +
                    (biased ? ", biased" : ""),
                off, Half<T>::rounding, taken, whole, alike);
}

}  // namespace

int main() {
  bool fine = true;
  // Fewer steps than stages, one tile and part of one, more steps than stages; the last has two tiles for each block of
  // 132 multiprocessors.
  for (const Shape& shape : {Shape{1, 8, 8}, Shape{1, 64, 72}, Shape{7, 200, 136}, Shape{33, 2120, 264},
                             Shape{64, 1032, 40}, Shape{61, 136, 4296}, Shape{5, 1480, 4232}}) {
    for (const bool biased : {false, true}) {
      fine = agrees<__half>(shape, biased) && fine;
      fine = agrees<__nv_bfloat16>(shape, biased) && fine;
    }
  }
  return fine ? 0 : 1;
}
