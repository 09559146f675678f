// Small texts' logits less what their tokens are too frequent by, beside float64 on the host: chunks across positions
// and texts, logits that begin anywhere, a vocabulary too large for shared memory. Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Case {
  int64_t batch, length, outputs;
  int64_t offset;  // of the logits from where a chunk may begin, in values
};

constexpr double by_count = 2.8, by_deviation = 0.6, usual_deviation = 2;

struct Texts {
  std::vector<int64_t> tokens;
  std::vector<uint8_t> masked;
  std::vector<float> prior;

  // Few tokens, so that they are frequent; masked ones are behind the vocabulary's.
  explicit Texts(const Case& of) : prior(uniform_numbers(of.batch * of.outputs, 1, 1)) {
    for (const float x : uniform_numbers(of.batch * of.length, 2, 1)) {
      masked.push_back(x < -0.4F ? 1 : 0);
    }
    for (const float x : uniform_numbers(of.batch * of.length, 3, 1)) {
      const auto token = static_cast<int64_t>((x + 1) / 2 * static_cast<float>(std::min<int64_t>(of.outputs, 5)));
      tokens.push_back(masked[tokens.size()] != 0 ? of.outputs : std::min(token, of.outputs - 1));
    }
    for (float& share : prior) {
      share = (share + 1.01F) / static_cast<float>(of.outputs);
    }
  }
};

std::vector<double> penalties(const Case& of, const Texts& texts) {
  std::vector<double> counts(texts.prior.size(), 0), found;
  for (int64_t b = 0; b < of.batch; ++b) {
    double visible = 0;
    for (int64_t t = b * of.length; t < (b + 1) * of.length; ++t) {
      if (texts.masked[static_cast<size_t>(t)] == 0) {
        counts[static_cast<size_t>(b * of.outputs + texts.tokens[static_cast<size_t>(t)])] += 1;
        visible += 1;
      }
    }
    for (int64_t v = b * of.outputs; v < (b + 1) * of.outputs; ++v) {
      const double count = counts[static_cast<size_t>(v)],
                   expected = exact(texts.prior[static_cast<size_t>(v)]) * visible;
      found.push_back(by_count * std::max(0.0, std::log1p(count) - std::log1p(expected)) +
                      by_deviation * std::max(0.0, (count - expected) / std::sqrt(1 + expected) - usual_deviation));
    }
  }
  return found;
}

template <typename T>
bool agrees(const Case& of) {
  const Texts texts(of);
  const int64_t count = of.batch * of.length * of.outputs;
  const std::vector<T> logits = numbers<T>(count + of.offset, 4, 5);
  Room<T> given(logits);
  Written<T> weighed(count);
  Room<int64_t> tokens(texts.tokens);
  Room<uint8_t> masked(texts.masked);
  Room<float> prior(texts.prior), penalty(std::vector<float>(texts.prior.size(), std::nanf("")));
  ExcessArguments a;
  a.tokens = tokens.data();
  a.masked = reinterpret_cast<const bool*>(masked.data());
  a.prior = prior.data();
  a.penalty = penalty.data();
  a.logits = given.data() + of.offset;
  a.weighed = weighed.data();
  a.length = of.length;
  a.outputs = of.outputs;
  a.by_count = static_cast<float>(by_count);
  a.by_deviation = static_cast<float>(by_deviation);
  a.usual_deviation = static_cast<float>(usual_deviation);
  less_excess(Half<T>::precision, a, of.batch, nullptr);
  check(cudaGetLastError(), "less_excess");
  bool whole = true;
  const std::vector<T> found = weighed.values(whole);
  const std::vector<double> expected = penalties(of, texts);
  double worst = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double less = expected[static_cast<size_t>(i / (of.length * of.outputs) * of.outputs + i % of.outputs)];
    const double logit = exact(logits[static_cast<size_t>(i + of.offset)]);
    // Both the penalty and the difference are rounded.
    const double allowed = Half<T>::rounding * (std::abs(less) + std::abs(logit - less)) + 1e-4;
    worst = std::max(worst, std::abs(exact(found[static_cast<size_t>(i)]) - (logit - less)) / allowed);
  }
  const std::string name = std::string(Half<T>::name) + ", " + std::to_string(of.batch) + " x " +
                           std::to_string(of.length) + ", " + std::to_string(of.outputs) + " tokens, from " +
                           std::to_string(of.offset) + " on";
  return report(name, worst, 1, /*taken=*/true, whole, /*alike=*/true);
}

}  // namespace

int main() {
  bool good = true;
  for (const Case& of : {Case{1, 1, 3, 0}, Case{3, 257, 66, 0}, Case{3, 257, 65, 1}, Case{5, 31, 65, 0},
                         Case{2, 700, 9, 5}, Case{2, 5, 8193, 0}}) {
    good = agrees<__half>(of) && good;
    good = agrees<__nv_bfloat16>(of) && good;
  }
  return good ? 0 : 1;
}
