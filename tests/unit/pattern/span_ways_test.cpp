// Ways through spans against products of dense matrices.
#include "pattern/span_ways.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

using namespace demask;

namespace span_ways_test {
namespace {

using Edges = std::vector<std::vector<std::pair<int32_t, int32_t>>>;
constexpr size_t any = 1 << 20;
using Matrix = std::vector<std::vector<double>>;

// Of each state one edge a class at most.
Edges random_edges(size_t states, int32_t classes, double share, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  Edges edges(states);
  for (auto& own : edges) {
    for (int32_t c = 0; c < classes; ++c) {
      if (uniform(random) < share) {
        own.emplace_back(c, static_cast<int32_t>(random() % states));
      }
    }
  }
  return edges;
}

Matrix transfer(const Edges& edges, const std::vector<double>& weights) {
  Matrix matrix(edges.size(), std::vector<double>(edges.size(), 0));
  for (size_t state = 0; state < edges.size(); ++state) {
    for (const auto& [c, next] : edges[state]) {
      matrix[state][static_cast<size_t>(next)] += weights[static_cast<size_t>(c)];
    }
  }
  return matrix;
}

Matrix product(const Matrix& one, const Matrix& other) {
  Matrix result(one.size(), std::vector<double>(one.size(), 0));
  for (size_t i = 0; i < one.size(); ++i) {
    for (size_t k = 0; k < one.size(); ++k) {
      for (size_t j = 0; j < one.size(); ++j) {
        result[i][j] += one[i][k] * other[k][j];
      }
    }
  }
  return result;
}

}  // namespace

TEST_CASE("The ways through a span weigh what the product of its positions' matrices has") {
  constexpr int32_t classes = 4;
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Edges edges = random_edges(7, classes, 0.4, seed);
    const SpanWays ways = ways_through_spans(edges, {any, any});
    REQUIRE(ways.span == 8);
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(0.1, 1);
    std::vector<std::vector<double>> weights(8, std::vector<double>(classes));
    Matrix expected;
    for (auto& own : weights) {
      std::generate(own.begin(), own.end(), [&] { return uniform(random); });
      const Matrix one = transfer(edges, own);
      expected = expected.empty() ? one : product(expected, one);
    }
    Matrix found(edges.size(), std::vector<double>(edges.size(), 0));
    for (size_t state = 0; state < edges.size(); ++state) {
      for (const SpanWays::Way& way : ways.of_state[state]) {
        double weight = 1;
        for (size_t i = 0; i < weights.size(); ++i) {
          weight *= weights[i][static_cast<size_t>(ways.products[static_cast<size_t>(way.product)][i])];
        }
        found[state][static_cast<size_t>(way.next)] += weight;
      }
      for (size_t next = 0; next < edges.size(); ++next) {
        CHECK(found[state][next] == Catch::Approx(expected[state][next]).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("Spans are as long as the ways through them and their products are few") {
  const Edges both = {{{0, 0}, {1, 0}}};  // two ways a position: 4, 16, 256
  CHECK(ways_through_spans(both, {256, any}).span == 8);
  CHECK(ways_through_spans(both, {255, any}).span == 4);
  CHECK(ways_through_spans(both, {16, any}).of_state[0].size() == 16);
  CHECK(ways_through_spans(both, {15, any}).span == 0);
  CHECK(ways_through_spans(both, {15, any}).products.empty());
  CHECK(ways_through_spans(both, {256, any, 4}).span == 4);
  // 16 products of a span of four are four a position, 256 of one of eight are 32.
  CHECK(ways_through_spans(both, {256, 32}).span == 8);
  CHECK(ways_through_spans(both, {256, 31}).span == 4);
  CHECK(ways_through_spans(both, {256, 4}).span == 4);
  CHECK(ways_through_spans(both, {256, 3}).span == 0);
}

TEST_CASE("States that see the same classes share products") {
  const SpanWays ways = ways_through_spans({{{0, 1}}, {{0, 0}}}, {1, 1});
  CHECK(ways.span == 8);
  CHECK(ways.products == std::vector<std::vector<int32_t>>{std::vector<int32_t>(8, 0)});
  CHECK(ways.of_state[1][0].next == 1);
}

TEST_CASE("A state that leads nowhere has no way through a span") {
  const SpanWays ways = ways_through_spans({{{0, 1}}, {}}, {12, 16});
  CHECK(ways.span == 8);
  CHECK(ways.of_state[0].empty());
  CHECK(ways.products.empty());
}

}  // namespace span_ways_test
