// The bound on a text's likelihood, by draws of what is masked, against all masks.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "sampling/score.h"
#include "sampling/score_rows.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/score_texts.h"
#include "tests/unit/sampling/table_model.h"

using namespace demask;
using namespace demask::testing;

namespace score_bound_test {
namespace {

// A bound's draws by a loop of its own: what is masked is told by the noise of the draw, all else is worked out again.
std::vector<double> draws_of(LanguageModel& model, const ScoreText& text, const ScoreOptions& options) {
  std::vector<int64_t> scored;
  for (size_t place = 0; place < text.tokens.size(); ++place) {
    if (text.scored[place]) {
      scored.push_back(static_cast<int64_t>(place));
    }
  }
  const auto length = static_cast<int64_t>(scored.size());
  const std::vector<int64_t> counts = masked_counts(text.stream, options.draws, length);
  std::vector<double> draws;
  for (int64_t draw = 0; draw < options.draws; ++draw) {
    std::stable_sort(scored.begin(), scored.end());
    std::stable_sort(scored.begin(), scored.end(), [&](int64_t left, int64_t right) {
      return uniform_at(text.stream, draw, left, Purpose::score_mask) <
             uniform_at(text.stream, draw, right, Purpose::score_mask);
    });
    const int64_t masked = counts[static_cast<size_t>(draw)];
    std::vector<int64_t> seen = text.tokens;
    for (int64_t k = 0; k < masked; ++k) {
      seen[static_cast<size_t>(scored[static_cast<size_t>(k)])] = options.mask_token_id;
    }
    const std::vector<double> each = log_probabilities(model, seen, text.tokens);
    double sum = 0;
    for (int64_t k = 0; k < masked; ++k) {
      sum += each[static_cast<size_t>(scored[static_cast<size_t>(k)])];
    }
    draws.push_back(sum * static_cast<double>(length) / static_cast<double>(masked));
  }
  return draws;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  return sum / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

// The bound itself, over every number of masked positions and every set of so many.
double whole_bound(LanguageModel& model, const std::vector<int64_t>& tokens, int64_t mask) {
  const auto length = static_cast<int64_t>(tokens.size());
  std::vector<double> sums(tokens.size() + 1), sets(tokens.size() + 1);
  for (uint32_t set = 1; set < 1U << length; ++set) {
    std::vector<int64_t> seen = tokens;
    size_t masked = 0;
    for (size_t place = 0; place < tokens.size(); ++place) {
      if ((set >> place & 1U) != 0) {
        seen[place] = mask;
        ++masked;
      }
    }
    const std::vector<double> each = log_probabilities(model, seen, tokens);
    for (size_t place = 0; place < tokens.size(); ++place) {
      sums[masked] += (set >> place & 1U) != 0 ? each[place] : 0;
    }
    sets[masked] += 1;
  }
  double bound = 0;
  for (size_t masked = 1; masked <= tokens.size(); ++masked) {
    bound += sums[masked] / sets[masked] / static_cast<double>(masked);  // L / l of the sum, 1 / L of the counts
  }
  return bound;
}

}  // namespace

TEST_CASE("A bound is what a loop over the model's logits makes of the same masks") {
  TableModel model(12, 6, /*causal=*/false);
  for (const size_t given : {size_t{0}, size_t{4}}) {
    for (const int64_t draws : {1, 2, 7, 32}) {
      const ScoreText text = text_of({1, 2, 3, 4, 5, 1, 2, 2, 5, 4, 3, 1}, given, 3);
      const ScoreOptions options = options_for(ScoreMethod::bound, 0, draws);
      const TextScore score = score_one(model, text, options);
      const std::vector<double> expected = draws_of(model, text, options);
      CAPTURE(given, draws);
      CHECK(score.log_likelihood == Catch::Approx(mean_of(expected)).epsilon(1e-6));
      CHECK(score.standard_error.has_value() == (draws > 1));
      REQUIRE(score.each.size() == 12 - given);
      double sum = 0;
      for (const double share : score.each) {
        sum += share;
      }
      CHECK(sum == Catch::Approx(score.log_likelihood).epsilon(1e-9));
    }
  }
}

TEST_CASE("A bound's mean over many texts' draws is the bound over all masks, its standard error how far they spread") {
  TableModel model(6, 5, /*causal=*/false);
  const std::vector<int64_t> tokens = {1, 4, 2, 3, 3, 1};
  const double bound = whole_bound(model, tokens, 0);
  constexpr int64_t runs = 400;
  std::vector<double> spread;
  for (const int64_t draws : {4, 16, 64}) {
    std::vector<ScoreText> texts;
    for (int64_t run = 0; run < runs; ++run) {
      texts.push_back(text_of(tokens, 0, run));
    }
    CheckedModel checked(model, "model");
    std::vector<double> estimates, squared_errors;
    for (const TextScore& score : Scorer(checked, options_for(ScoreMethod::bound, 0, draws)).score(texts)) {
      estimates.push_back(score.log_likelihood);
      squared_errors.push_back(*score.standard_error * *score.standard_error);
    }
    CAPTURE(draws, bound, mean_of(estimates), deviation_of(estimates), std::sqrt(mean_of(squared_errors)));
    CHECK(std::abs(mean_of(estimates) - bound) < 4 * deviation_of(estimates) / std::sqrt(runs));
    // A deviation of 400 estimates is off by a share of 1 / sqrt(800); four of these.
    CHECK(std::sqrt(mean_of(squared_errors)) == Catch::Approx(deviation_of(estimates)).epsilon(0.15));
    spread.push_back(deviation_of(estimates));
  }
  // As one over the root of the draws, or faster, while finer strata still take something away.
  CHECK(spread[1] < spread[0] / 2 * 1.15);
  CHECK(spread[2] < spread[1] / 2 * 1.15);
}

TEST_CASE("The masked share is uniform, and every pair of draws has its own part of it") {
  constexpr int64_t length = 10, draws = 9, texts = 4000;
  std::vector<int64_t> times(length + 1);
  for (int64_t index = 0; index < texts; ++index) {
    const std::vector<int64_t> counts = masked_counts({1, index}, draws, length);
    REQUIRE(counts.size() == draws);
    for (size_t draw = 0; draw < counts.size(); ++draw) {
      ++times.at(static_cast<size_t>(counts[draw]));
      const size_t stratum = std::min<size_t>(draw / 2, 3);  // the last has three
      const double low = static_cast<double>(2 * stratum) / draws * length,
                   high = stratum == 3 ? length : static_cast<double>(2 * stratum + 2) / draws * length;
      CHECK(static_cast<double>(counts[draw]) > low);
      CHECK(static_cast<double>(counts[draw]) < high + 1);
    }
  }
  CHECK(times[0] == 0);
  constexpr double each = static_cast<double>(texts * draws) / length;
  for (int64_t count = 1; count <= length; ++count) {
    CAPTURE(count);
    CHECK(std::abs(static_cast<double>(times[static_cast<size_t>(count)]) - each) < 4 * std::sqrt(each));
  }
  CHECK(masked_counts({1, 0}, 3, 1) == std::vector<int64_t>{1, 1, 1});
}

}  // namespace score_bound_test
