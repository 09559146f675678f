#include "sampling/token_draw.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/catch.h"

using namespace demask;

namespace {

constexpr float never = -std::numeric_limits<float>::infinity();

at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat).unsqueeze(0);
}
at::Tensor log_of(const std::vector<double>& probabilities) {
  return at::tensor(probabilities, at::kDouble).log().to(at::kFloat).unsqueeze(0);
}
at::Tensor u(double value) {
  return at::full({1}, value, at::kFloat);
}

std::vector<bool> kept(const at::Tensor& logits) {
  std::vector<bool> result;
  for (int64_t id = 0; id < logits.size(-1); ++id) {
    result.push_back(std::isfinite(logits[0][id].item<float>()));
  }
  return result;
}

}  // namespace

TEST_CASE("Filtered logits keep what a draw keeps, and the rest finite with no probability") {
  DrawFilters filters;
  filters.temperature = 0.5;
  filters.top_k = 3;
  const at::Tensor p = at::softmax(filtered_logits(log_of({0.4, 0.1, 0.3, 0.2}), filters), -1)[0];
  // Squares of 0.4, 0.3 and 0.2 over their sum.
  CHECK(p[0].item<double>() == Catch::Approx(0.16 / 0.29));
  CHECK(p[1].item<double>() == 0);
  CHECK(p[3].item<double>() == Catch::Approx(0.04 / 0.29));
  CHECK(filtered_logits(row({1, never, 2}), filters).isfinite().all().item<bool>());
  filters = {};
  filters.temperature = 0;  // greedy: what is drawn does not ask for a temperature
  filters.top_p = 0.6;
  const at::Tensor nucleus = at::softmax(filtered_logits(log_of({0.4, 0.1, 0.3, 0.2}), filters), -1)[0];
  CHECK(nucleus[0].item<double>() == Catch::Approx(0.4 / 0.7));
  CHECK(nucleus[3].item<double>() == 0);
  CHECK(filtered_logits(row({1, std::nan(""), 2}), filters).isnan().any().item<bool>());
}

TEST_CASE("A draw takes the first id whose cumulative probability exceeds u") {
  const at::Tensor logits = log_of({0.1, 0.2, 0.3, 0.4});
  CHECK(draw_from(logits, u(0.05)).ids.item<int64_t>() == 0);
  CHECK(draw_from(logits, u(0.15)).ids.item<int64_t>() == 1);
  CHECK(draw_from(logits, u(0.45)).ids.item<int64_t>() == 2);
  CHECK(draw_from(logits, u(0.95)).ids.item<int64_t>() == 3);
  CHECK(draw_from(logits, u(0.45)).probabilities.item<float>() == Catch::Approx(0.3));
}

TEST_CASE("Excluded ids are never drawn, not even at the ends of u") {
  const at::Tensor logits = row({never, 1.0, never, 1.0, never});
  const at::Tensor smallest = u(0x1p-24), largest = u(1 - 0x1p-24);
  CHECK(draw_from(logits, smallest).ids.item<int64_t>() == 1);
  CHECK(draw_from(logits, largest).ids.item<int64_t>() == 3);
}

TEST_CASE("Drawn frequencies are the probabilities, within five standard errors of 200,000 draws") {
  const std::vector<double> probabilities = {0.02, 0.5, 0.18, 0.3};
  const int64_t draws = 200000;
  // Equally spaced numbers would hide a wrong order of ids; a golden-ratio sequence is as even and in no order.
  const at::Tensor uniforms =
      at::remainder(at::arange(draws, at::kDouble) * 0.6180339887498949, 1.0).to(at::kFloat).clamp(1e-7, 1 - 1e-7);
  const at::Tensor ids = draw_from(log_of(probabilities).expand({draws, 4}), uniforms).ids;
  for (size_t id = 0; id < probabilities.size(); ++id) {
    const double p = probabilities[id];
    const double frequency = (ids == static_cast<int64_t>(id)).to(at::kDouble).mean().item<double>();
    CHECK(std::abs(frequency - p) < 5 * std::sqrt(p * (1 - p) / static_cast<double>(draws)));
  }
}

TEST_CASE("Temperature sharpens: at one half, probabilities are squared and normalised") {
  DrawFilters filters;
  filters.temperature = 0.5;
  const Draw draw = draw_tokens(log_of({0.2, 0.8}), at::zeros({2}), u(0.99), filters);
  CHECK(draw.ids.item<int64_t>() == 1);
  CHECK(draw.probabilities.item<float>() == Catch::Approx(0.64 / 0.68));
}

TEST_CASE("Temperature 0 is greedy, takes the lower id among equals, and obeys what is forbidden") {
  DrawFilters filters;
  filters.temperature = 0;
  CHECK(draw_tokens(row({1, 3, 3, 2}), at::zeros({4}), u(0.999), filters).ids.item<int64_t>() == 1);
  CHECK(draw_tokens(row({1, 3, 3, 2}), row({0, never, 0, 0})[0], u(0.999), filters).ids.item<int64_t>() == 2);
}

TEST_CASE("The nucleus is the smallest set whose probability exceeds top_p, never empty") {
  const at::Tensor logits = log_of({0.1, 0.5, 0.15, 0.25});
  CHECK(kept(keep_nucleus(logits, 0.7)) == std::vector<bool>{false, true, false, true});
  CHECK(kept(keep_nucleus(logits, 0.8)) == std::vector<bool>{false, true, true, true});
  CHECK(kept(keep_nucleus(logits, 0.3)) == std::vector<bool>{false, true, false, false});
  CHECK(kept(keep_nucleus(logits, 1e-9)) == std::vector<bool>{false, true, false, false});
}

TEST_CASE("Among equally likely tokens the nucleus keeps the lower ids") {
  CHECK(kept(keep_nucleus(row({0, 0, 0, 0}), 0.6)) == std::vector<bool>{true, true, true, false});
}

TEST_CASE("Top-k keeps the k largest and ties with the last of them") {
  CHECK(kept(keep_top_k(row({4, 1, 3, 2}), 2)) == std::vector<bool>{true, false, true, false});
  CHECK(kept(keep_top_k(row({4, 3, 3, 2}), 2)) == std::vector<bool>{true, true, true, false});
  CHECK(kept(keep_top_k(row({4, 1}), 200)) == std::vector<bool>{true, true});
}

TEST_CASE("The repetition penalty touches visible tokens of the window before a position, by the sign of their logit") {
  // Tokens 0 1 [2 hidden] 0; every position has logits (2, -2, 2, 2).
  const at::Tensor tokens = at::tensor(std::vector<int64_t>{0, 1, 2, 0}, at::kLong).unsqueeze(0);
  const at::Tensor visible = at::tensor(std::vector<int64_t>{1, 1, 0, 1}, at::kLong).to(at::kBool).unsqueeze(0);
  const at::Tensor logits = row({2, -2, 2, 2}).unsqueeze(1).expand({1, 4, 4}).contiguous();
  const at::Tensor window_two = penalize_repetition(logits, tokens, visible, 2.0, 2)[0];
  CHECK(at::equal(window_two[0], row({2, -2, 2, 2})[0]));  // nothing before
  CHECK(at::equal(window_two[1], row({1, -2, 2, 2})[0]));  // sees 0
  CHECK(at::equal(window_two[2], row({1, -4, 2, 2})[0]));  // sees 0 and 1
  CHECK(at::equal(window_two[3], row({2, -4, 2, 2})[0]));  // sees 1; the hidden 2 does not count, 0 is too far away
  const at::Tensor wide = penalize_repetition(logits, tokens, visible, 2.0, 10)[0];
  CHECK(at::equal(wide[3], row({1, -4, 2, 2})[0]));
}

TEST_CASE("The penalty of the next token looks back over the window only") {
  const at::Tensor tokens = at::tensor(std::vector<int64_t>{3, 0, 1}, at::kLong).unsqueeze(0);
  CHECK(at::equal(penalize_repetition_of_next(row({2, -2, 2, 2}), tokens, 2.0, 2), row({1, -4, 2, 2})));
  CHECK(at::equal(penalize_repetition_of_next(row({2, -2, 2, 2}), tokens, 2.0, 10), row({1, -4, 2, 1})));
}

TEST_CASE("A temperature whose division would overflow draws greedily near 0, and by chance alone near infinity") {
  const at::Tensor logits = at::tensor({1.0, 30.0, -40.0, 29.0}, at::kFloat).repeat({4, 1});
  const at::Tensor forbidden = at::tensor({0.0, 0.0, 0.0, -std::numeric_limits<double>::infinity()}, at::kFloat);
  const at::Tensor uniforms = at::tensor({0.01, 0.4, 0.7, 0.99}, at::kFloat);
  const at::Tensor broken = at::zeros({}, at::kBool);
  const auto drawn = [&](double temperature) {
    DrawFilters filters;
    filters.temperature = temperature;
    return draw_tokens_where({}, {}, logits, forbidden, uniforms, filters, broken).ids;
  };
  for (const double temperature : {1e-45, 1e-38, 1e-30, 1e-20, 1e-10}) {
    CAPTURE(temperature);
    CHECK(at::equal(drawn(temperature), at::full({4}, 1, at::kLong)));
  }
  // A third each of the three that are allowed.
  const at::Tensor by_chance = at::tensor({0, 1, 2, 2}, at::kLong);
  for (const double temperature : {1e10, 1e38, 1e300}) {
    CAPTURE(temperature);
    CHECK(at::equal(drawn(temperature), by_chance));
  }
  CHECK_FALSE(broken.item<bool>());
}

TEST_CASE("Each sample, or each position, may have a temperature of its own") {
  const at::Tensor forbidden = at::zeros({3});
  for (const bool each_position : {false, true}) {
    const std::vector<int64_t> shape = each_position ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{2, 1};
    const at::Tensor logits = row({2, 0, 1}).expand({shape[0], shape[1], 3}), uniforms = at::full(shape, 0.5);
    DrawFilters filters;
    filters.temperatures = at::tensor({0.5, 4.0}, at::kFloat).view(shape);
    const Draw both = draw_tokens(logits, forbidden, uniforms, filters);
    for (const int64_t i : {0, 1}) {
      DrawFilters alone;
      alone.temperature = i == 0 ? 0.5 : 4.0;
      const Draw expected = draw_tokens(row({2, 0, 1}), forbidden, at::full({}, 0.5), alone);
      CHECK(both.ids.view({2})[i].item<int64_t>() == expected.ids.item<int64_t>());
      CHECK(both.probabilities.view({2})[i].item<float>() == Catch::Approx(expected.probabilities.item<float>()));
    }
  }
}
