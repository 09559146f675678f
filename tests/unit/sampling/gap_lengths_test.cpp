#include "sampling/gap_lengths.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "model/device.h"
#include "pattern/token_automaton.h"
#include "tests/support/catch.h"
#include "text/character_vocabulary.h"

using namespace demask;

namespace gap_lengths_test {
namespace {

constexpr int64_t period = 40, mask = period;
constexpr double strength = 6;

// A language in which every token is followed by the next one of a cycle. At a position the model believes the nearest
// visible token on its left and the nearest on its right, each with the same strength, and knows nothing else.
class Counting : public LanguageModel {
 public:
  explicit Counting(at::Device device = at::kCPU) : device_(device) { info_.output_size = period + 1; }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return device_; }
  at::Tensor logits(const at::Tensor& given) override {
    const at::Tensor tokens = given.cpu();
    const int64_t length = tokens.size(1);
    at::Tensor logits = at::zeros({tokens.size(0), length, period + 1});
    const auto token = tokens.accessor<int64_t, 2>();
    auto out = logits.accessor<float, 3>();
    for (int64_t row = 0; row < tokens.size(0); ++row) {
      for (int64_t at = 0; at < length; ++at) {
        for (const int64_t direction : {-1, 1}) {
          int64_t near = at + direction;
          while (near >= 0 && near < length && token[row][near] == mask) {
            near += direction;
          }
          if (near >= 0 && near < length) {
            out[row][at][(token[row][near] + at - near + period) % period] += static_cast<float>(strength);
          }
        }
      }
    }
    largest_batch = std::max(largest_batch, tokens.size(0));
    if (broken) {
      logits.fill_(std::numeric_limits<float>::quiet_NaN());
    }
    const at::Tensor there = logits.to(device_);
    if (device_.is_cuda()) {  // which is then behind the host
      at::Tensor busy = at::ones({2048, 2048}, there.options());
      for (int product = 0; product < 50; ++product) {
        busy = busy.mm(busy);
      }
    }
    return there;
  }

  int64_t largest_batch = 0;
  bool broken = false;

 private:
  at::Device device_;
  ModelInfo info_;
};

struct Gapped {
  Template text;
  std::vector<Gap> gaps;

  void fix(int64_t first, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      text.tokens.push_back((first + k) % period);
      text.fixed.push_back(true);
    }
  }
  void gap(int64_t least, int64_t most) {
    gaps.push_back({text.length(), least, most});
    text.tokens.resize(text.tokens.size() + static_cast<size_t>(most), mask);
    text.fixed.resize(text.tokens.size(), false);
  }
};

// Six tokens, a gap of 1 to 12 that would take `length`, six tokens.
Gapped one_gap(int64_t length) {
  Gapped gapped;
  gapped.fix(0, 6);
  gapped.gap(1, 12);
  gapped.fix(6 + length, 6);
  return gapped;
}

std::vector<int64_t> choose(const Gapped& gapped, bool likeliest, int64_t index = 0) {
  Counting model;
  CheckedModel checked(model, "counting");
  GapChooser chooser(checked, mask, likeliest);
  return chooser.choose({{{1, index}, &gapped.text, &gapped.gaps}}, 1000).at(0);
}

}  // namespace

TEST_CASE("A gap gets its true length, whether that is short or long") {
  for (int64_t length = 1; length <= 12; ++length) {
    CAPTURE(length);
    CHECK(choose(one_gap(length), /*likeliest=*/true) == std::vector<int64_t>{length});
  }
}

TEST_CASE("On CUDA too a gap gets its own length, whatever was asked before it") {
  if (cuda_device_count() == 0) {
    return;
  }
  Counting model(at::kCUDA);
  CheckedModel checked(model, "counting");
  GapChooser chooser(checked, mask, /*likeliest=*/true);
  for (int64_t length = 1; length <= 12; ++length) {
    const Gapped gapped = one_gap(length);
    CHECK(chooser.choose({{{1, 0}, &gapped.text, &gapped.gaps}}, 1000).at(0) == std::vector<int64_t>{length});
  }
}

TEST_CASE("Several gaps get their true lengths one after the other") {
  Gapped gapped;
  gapped.fix(0, 5);
  gapped.gap(1, 9);  // 7
  gapped.fix(12, 5);
  gapped.gap(2, 8);  // 3
  gapped.fix(20, 5);
  gapped.gap(1, 4);  // 1
  gapped.fix(26, 3);
  CHECK(choose(gapped, /*likeliest=*/true) == std::vector<int64_t>{7, 3, 1});
}

TEST_CASE("Evidence is the sum of the chains from both sides") {
  Counting model;
  CheckedModel checked(model, "counting");
  GapChooser chooser(checked, mask, true);
  const Gapped gapped = one_gap(5);
  const std::vector<double> evidence = chooser.evidence(gapped.text, gapped.gaps, {}, 1000).log_probability;
  REQUIRE(evidence.size() == 12);
  // With the true length both neighbours say the token that is there, with another only one of them does.
  const double others = period, both = 2 * strength - std::log(std::exp(2 * strength) + others),
               one = strength - std::log(2 * std::exp(strength) + others - 1);
  for (size_t k = 0; k < evidence.size(); ++k) {
    CHECK_THAT(evidence[k], Catch::Matchers::WithinAbs(2 * tokens_asked * (k == 4 ? both : one), 1e-4));
  }
  CHECK(chooser.forwards() == 1);
}

TEST_CASE("Lengths are drawn by their probability, from the sample's own random numbers") {
  const Gapped gapped = one_gap(5);
  Counting model;
  CheckedModel checked(model, "counting");
  GapChooser chooser(checked, mask, /*likeliest=*/false);
  const std::vector<double> evidence = chooser.evidence(gapped.text, gapped.gaps, {}, 1000).log_probability;
  double total = 0;
  for (const double value : evidence) {
    total += std::exp(value);
  }
  constexpr int64_t draws = 4000;
  std::vector<GapTask> tasks;
  for (int64_t index = 0; index < draws; ++index) {
    tasks.push_back({{3, index}, &gapped.text, &gapped.gaps});
  }
  std::vector<int64_t> counts(12);
  for (const std::vector<int64_t>& lengths : chooser.choose(tasks, 1000)) {
    ++counts.at(static_cast<size_t>(lengths.at(0) - 1));
  }
  for (size_t k = 0; k < counts.size(); ++k) {
    CAPTURE(k);
    const double p = std::exp(evidence[k]) / total;
    CHECK_THAT(static_cast<double>(counts[k]) / draws,
               Catch::Matchers::WithinAbs(p, 4 * std::sqrt(p * (1 - p) / draws)));
  }
}

TEST_CASE("Where nothing stands beyond a gap every length is as likely, and the middle one is taken") {
  Gapped gapped;
  gapped.fix(0, 6);
  gapped.gap(3, 9);
  CHECK(choose(gapped, /*likeliest=*/true) == std::vector<int64_t>{6});
  Gapped alone;
  alone.gap(2, 4);
  CHECK(choose(alone, /*likeliest=*/true) == std::vector<int64_t>{3});
}

TEST_CASE("A sample's lengths are the same alone, among others and in small batches") {
  Gapped two = one_gap(9);
  two.gap(1, 6);
  two.fix(25, 4);
  Counting model;
  CheckedModel checked(model, "counting");
  GapChooser chooser(checked, mask, /*likeliest=*/false);
  std::vector<GapTask> tasks;
  for (int64_t index = 0; index < 20; ++index) {
    tasks.push_back({{7, index}, &two.text, &two.gaps});
  }
  const std::vector<std::vector<int64_t>> together = chooser.choose(tasks, 1000);
  CHECK(chooser.choose(tasks, 20) == together);
  model.largest_batch = 0;
  for (size_t k = 0; k < tasks.size(); ++k) {
    CHECK(chooser.choose({tasks[k]}, 1).at(0) == together[k]);
  }
  CHECK(model.largest_batch <= 2 * tokens_asked);
}

TEST_CASE("A template with lengths keeps what is fixed and has no gap that is longer") {
  const Gapped gapped = one_gap(2);
  const Template text = with_lengths(gapped.text, gapped.gaps, {2});
  CHECK(text.tokens == std::vector<int64_t>{0, 1, 2, 3, 4, 5, mask, mask, 8, 9, 10, 11, 12, 13});
  CHECK(text.free_positions() == 2);
  CHECK(text.fixed.size() == text.tokens.size());
}

TEST_CASE("A gap has a length at which the pattern can match, the likeliest of these") {
  // The cycle's tokens are spelt by letters of their own.
  std::vector<std::optional<std::string>> letters;
  std::vector<int64_t> allowed;
  for (int64_t id = 0; id < period; ++id) {
    letters.emplace_back(std::string(1, static_cast<char>('0' + id)));
    allowed.push_back(id);
  }
  Counting fake;
  CheckedModel model(fake, "fake");
  Gapped one;
  one.fix(0, 6);
  one.gap(1, 9);  // truly of four
  one.fix(10, 6);
  one.gap(1, 9);  // and of two
  one.fix(18, 6);
  const auto lengths_by = [&](const std::string& pattern, bool likeliest) {
    one.text.pattern = compile_pattern(pattern, CharacterVocabulary(letters), allowed, std::nullopt);
    std::set<std::vector<int64_t>> lengths;
    GapChooser chooser(model, mask, likeliest);
    for (int64_t index = 0; index < 20; ++index) {
      lengths.insert(chooser.choose({{{7, index}, &one.text, &one.gaps}}, 64)[0]);
    }
    return lengths;
  };
  using Lengths = std::set<std::vector<int64_t>>;
  CHECK(lengths_by(".*", true) == Lengths{{4, 2}});
  // The first gap's length leaves the second what the whole text's length does not.
  for (const std::vector<int64_t>& lengths : lengths_by(".{25}", false)) {
    CHECK(lengths[0] + lengths[1] == 7);
  }
  CHECK(lengths_by(".{36}", true) == Lengths{{9, 9}});
  CHECK(lengths_by("[^:]{6}([^:]{3}|[^:]{9}):[^:]*", true) == Lengths{{3, 2}});  // the colon is token 10
}

TEST_CASE("Logits that are no numbers choose nothing") {
  Counting model;
  model.broken = true;
  CheckedModel checked(model, "counting");
  GapChooser chooser(checked, mask, true);
  const Gapped gapped = one_gap(5);
  CHECK_THROWS_AS(chooser.choose({{{1, 0}, &gapped.text, &gapped.gaps}}, 1000), Error);
}

}  // namespace gap_lengths_test
