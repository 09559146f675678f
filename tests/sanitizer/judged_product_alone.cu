// The product whose rows are judged beside float64 on the host, and a row alone beside the same row among others, by
// bits. Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Shape {
  int64_t rows, inner, outputs;
};

template <typename T>
struct Judged {
  Shape shape;
  std::vector<T> x, weight;
  std::vector<int64_t> tokens;
};

template <typename T>
std::vector<float> run(const Judged<T>& judged, bool& taken) {
  const std::vector<float> unwritten(static_cast<size_t>(judged.shape.rows), std::nanf(""));
  Room<T> x(judged.x), weight(judged.weight);
  Room<int64_t> tokens(judged.tokens);
  Room<float> parts(std::vector<float>(static_cast<size_t>(judged_parts_of(judged.shape.rows)))), logits(unwritten),
      out(unwritten);
  Room<uint8_t> broken(std::vector<uint8_t>(1));
  JudgedProductArguments a;
  a.x = x.data();
  a.weight = weight.data();
  a.tokens = tokens.data();
  a.rows = judged.shape.rows;
  a.inner = judged.shape.inner;
  a.outputs = judged.shape.outputs;
  a.parts = parts.data();
  a.logits = logits.data();
  a.out = out.data();
  a.broken = reinterpret_cast<bool*>(broken.data());
  taken = taken && takes_judged_product(a.inner) && judged_product(Half<T>::precision, a, nullptr);
  return out.values();
}

// The logarithm of the probability of a row's token.
template <typename T>
double expected(const Judged<T>& judged, int64_t row) {
  const int64_t inner = judged.shape.inner;
  std::vector<double> logits;
  double total = 0;  // logits are small here
  for (int64_t output = 0; output < judged.shape.outputs; ++output) {
    double logit = 0;
    for (int64_t i = 0; i < inner; ++i) {
      logit += exact(judged.x[static_cast<size_t>(row * inner + i)]) *
               exact(judged.weight[static_cast<size_t>(output * inner + i)]);
    }
    logits.push_back(logit);
    total += std::exp(logit);
  }
  return logits[static_cast<size_t>(judged.tokens[static_cast<size_t>(row)])] - std::log(total);
}

template <typename T>
bool agrees(const Shape& shape) {
  Judged<T> judged{shape, numbers<T>(shape.rows * shape.inner, 1, 1), numbers<T>(shape.outputs * shape.inner, 2, 0.2),
                   std::vector<int64_t>()};
  for (int64_t row = 0; row < shape.rows; ++row) {
    judged.tokens.push_back(row == 0 ? shape.outputs - 1 : row * 7919 % shape.outputs);
  }
  bool taken = true;
  const std::vector<float> found = run(judged, taken);
  constexpr int64_t compared = 40;  // rows, evenly apart: the host is slow
  Difference difference;
  for (int64_t row = 0; row < shape.rows; row += 1 + shape.rows / compared) {
    difference.add(static_cast<double>(found[static_cast<size_t>(row)]), expected(judged, row));
  }
  const int64_t row = shape.rows / 2;
  judged.shape.rows = 1;
  judged.x = part(judged.x, row, 1, shape.inner);
  judged.tokens = part(judged.tokens, row, 1, 1);
  const bool alike = same_bits(run(judged, taken), part(found, row, 1, 1));
  // Sums of `inner` terms in float32, of at most 8 together.
  return report(std::string(Half<T>::name) + ", " + std::to_string(shape.rows) + " rows of " +
                    std::to_string(shape.inner) + " by " + std::to_string(shape.outputs) + " outputs",
                difference.most, 2e-4, taken, /*whole=*/true, alike);
}

}  // namespace

int main() {
  bool fine = true;
  for (const Shape& shape : {Shape{1, 256, 300}, Shape{300, 264, 4099}, Shape{77, 320, 1031}}) {
    fine = agrees<__half>(shape) && fine;
    fine = agrees<__nv_bfloat16>(shape) && fine;
  }
  return fine ? 0 : 1;
}
