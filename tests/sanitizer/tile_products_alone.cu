// Products that finish their rows beside float64 on the host, and some rows alone beside the same rows among others, by
// bits. Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Shape {
  int64_t rows, inner, outputs;
};
enum class Finish { bias, sum, gelu, rotation };
constexpr int64_t head_width = 64, length = 13, half = head_width / 2;

template <typename T>
struct Product {
  Shape shape;
  Finish finish;
  std::vector<T> x, weight, bias, before;  // before: what a sum is added to
  std::vector<float> angles;
  int64_t rotated_heads() const { return shape.outputs / head_width - 1; }
};

template <typename T>
std::vector<T> run(const Product<T>& product, bool& taken, bool& whole) {
  const Shape& shape = product.shape;
  Room<T> x(product.x), weight(product.weight), bias(product.bias), onto(product.before);
  Room<float> angles(product.angles);
  Written<T> out(shape.rows * shape.outputs);
  const bool adds = product.finish == Finish::sum, rotates = product.finish == Finish::rotation;
  TileProductArguments a;
  a.x = x.data();
  a.weight = weight.data();
  a.bias = bias.data();
  a.out = adds ? onto.data() : out.data();
  a.rows = shape.rows;
  a.inner = shape.inner;
  a.outputs = shape.outputs;
  a.adds = adds;
  a.activates = product.finish == Finish::gelu;
  a.angles = rotates ? angles.data() : nullptr;
  a.length = length;
  a.head_width = head_width;
  a.rotated_heads = rotates ? product.rotated_heads() : 0;
  taken = taken && has_tile_products() && tile_product(Half<T>::precision, a, nullptr);
  return adds ? onto.values() : out.values(whole);
}

template <typename T>
std::vector<double> sums_of(const Product<T>& product, int64_t row) {
  const Shape& shape = product.shape;
  std::vector<double> sums;
  for (int64_t output = 0; output < shape.outputs; ++output) {
    double sum = exact(product.bias[static_cast<size_t>(output)]);
    for (int64_t i = 0; i < shape.inner; ++i) {
      sum += exact(product.x[static_cast<size_t>(row * shape.inner + i)]) *
             exact(product.weight[static_cast<size_t>(output * shape.inner + i)]);
    }
    sums.push_back(sum);
  }
  return sums;
}

template <typename T>
std::vector<double> finished(const Product<T>& product, int64_t row) {
  std::vector<double> sums = sums_of(product, row);
  const float* angles = product.angles.data() + row % length * head_width;
  for (size_t i = 0; i < sums.size(); ++i) {
    if (product.finish == Finish::gelu) {
      sums[i] *= 0.5 * std::erfc(-sums[i] / std::sqrt(2.0));
    } else if (product.finish == Finish::sum) {
      sums[i] += exact(product.before[static_cast<size_t>(row * product.shape.outputs) + i]);
    }
  }
  for (int64_t head = 0; product.finish == Finish::rotation && head < product.rotated_heads(); ++head) {
    for (int64_t i = 0; i < half; ++i) {
      double& x = sums[static_cast<size_t>(head * head_width + i)];
      double& y = sums[static_cast<size_t>(head * head_width + half + i)];
      const double cosine = angles[2 * i], sine = angles[2 * i + 1], turned = x * cosine - y * sine;
      y = y * cosine + x * sine;
      x = turned;
    }
  }
  return sums;
}

template <typename T>
Difference compared(const Product<T>& product, const std::vector<T>& found) {
  constexpr int64_t about = 20;  // rows, evenly apart, as the host is slow; and the last
  const Shape& shape = product.shape;
  Difference difference;
  const auto compare = [&](int64_t row) {
    const std::vector<double> expected = finished(product, row);
    for (size_t i = 0; i < expected.size(); ++i) {
      difference.add(exact(found[static_cast<size_t>(row * shape.outputs) + i]), expected[i]);
    }
  };
  for (int64_t row = 0; row < shape.rows; row += 1 + shape.rows / about) {
    compare(row);
  }
  compare(shape.rows - 1);
  return difference;
}

template <typename T>
bool agrees(const Shape& shape, Finish finish, const char* name) {
  Product<T> product{shape,
                     finish,
                     numbers<T>(shape.rows * shape.inner, 1, 1),
                     numbers<T>(shape.outputs * shape.inner, 2, 0.2),
                     numbers<T>(shape.outputs, 3, 1),
                     numbers<T>(shape.rows * shape.outputs, 4, 1),
                     uniform_numbers(length * head_width, 5, 1)};
  bool taken = true, whole = true, alike = true;
  const std::vector<T> found = run(product, taken, whole);
  const double off = compared(product, found).relative();
  const std::vector<T> x = product.x, before = product.before;
  // As many as fill a tile in part, from where positions begin.
  const int64_t few = std::min<int64_t>(shape.rows, 3);
  for (const int64_t first : {int64_t{0}, (shape.rows - few) / length * length}) {
    product.shape.rows = few;
    product.x = part(x, first, few, shape.inner);
    product.before = part(before, first, few, shape.outputs);
    alike = same_bits(run(product, taken, whole), part(found, first, few, shape.outputs)) && alike;
  }
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.rows) + " rows of " +
                    std::to_string(shape.inner) + " by " + std::to_string(shape.outputs) + " outputs, " + name,
                off, (finish == Finish::sum ? 2 : 1) * Half<T>::rounding, taken, whole, alike);
}

}  // namespace

int main() {
  bool fine = true;
  // On 132 multiprocessors these have, in turn: one warpgroup a block and 64 columns, with more steps than stages; 128
  // columns; 192; two warpgroups and 128 columns with an activation; two and 192; three; low tiles; tall ones.
  for (const Shape& shape :
       {Shape{5, 64, 72}, Shape{77, 840, 136}, Shape{650, 200, 904}, Shape{970, 136, 1480}, Shape{1500, 72, 1304},
        Shape{1500, 328, 2000}, Shape{2100, 264, 2200}, Shape{3000, 72, 2000}, Shape{5300, 72, 1000}}) {
    for (const auto& [finish, name] : {std::pair{Finish::bias, "bias"}, std::pair{Finish::sum, "added"},
                                       std::pair{Finish::gelu, "GELU"}, std::pair{Finish::rotation, "rotated"}}) {
      constexpr int64_t large = 1000;  // in one precision, as the tools take long
      fine = (shape.rows >= large || agrees<__half>(shape, finish, name)) && fine;
      fine = agrees<__nv_bfloat16>(shape, finish, name) && fine;
    }
  }
  return fine ? 0 : 1;
}
