// Which products make the matrices of stretches: followed with weights, they are the product of all positions'
// matrices.
#include "sampling/transfer_planning.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "kernels/pattern_stretches.h"
#include "kernels/pattern_team.h"
#include "tests/support/catch.h"

using namespace demask;
using namespace demask::kernels;

namespace transfer_planning_test {
namespace {

struct Automaton {
  std::vector<int32_t> first_edge = {0}, edges;
  int32_t classes = 0;

  // next(state, class): below 0, none.
  template <typename Next>
  Automaton(int32_t states, int32_t of, const Next& next) : classes(of) {
    for (int32_t state = 0; state < states; ++state) {
      for (int32_t c = 0; c < classes; ++c) {
        if (next(state, c) >= 0) {
          edges.insert(edges.end(), {c, next(state, c)});
        }
      }
      first_edge.push_back(static_cast<int32_t>(edges.size() / 2));
    }
  }
  size_t states() const { return first_edge.size() - 1; }
  std::vector<int32_t> plan(int32_t ended = -1) const { return transfer_plan({first_edge, edges, classes, ended}); }
};

using Matrix = std::vector<std::vector<double>>;

// By whole matrices, position by position; given positions leave the ended state no way.
Matrix product(const Automaton& of, const std::vector<double>& weights, const std::vector<int32_t>& fixed, int ended) {
  const size_t states = of.states();
  Matrix all(states, std::vector<double>(states));
  for (size_t state = 0; state < states; ++state) {
    all[state][state] = 1;
  }
  for (size_t t = 0; t < fixed.size(); ++t) {
    Matrix next(states, std::vector<double>(states));
    for (size_t begin = 0; begin < states; ++begin) {
      for (size_t state = 0; state < states; ++state) {
        const bool stays = fixed[t] == free_position || static_cast<int>(state) != ended;
        for (auto edge = static_cast<size_t>(of.first_edge[state]);
             stays && edge < static_cast<size_t>(of.first_edge[state + 1]); ++edge) {
          next[begin][static_cast<size_t>(of.edges[2 * edge + 1])] +=
              all[begin][state] *
              weights[t * static_cast<size_t>(of.classes) + static_cast<size_t>(of.edges[2 * edge])];
        }
      }
    }
    all = next;
  }
  return all;
}

// As the kernels do it.
Matrix by_plan(const Automaton& of, const std::vector<int32_t>& packed, std::vector<double> weights,
               const std::vector<int32_t>& fixed) {
  std::vector<double> transfer(static_cast<size_t>(most_transfer_row * transfer_width));
  PatternArguments a;
  a.batch = 1;
  a.length = stretch_positions;
  a.weights_room = of.classes;
  a.weights = weights.data();
  a.fixed = fixed.data();
  a.transfer = transfer.data();
  const TransferPlan plan{packed.data()};
  const auto room = std::make_unique<TransferRoom>();
  SingleThread alone;
  make_matrix(a, plan, 0, 0, *room, alone);
  Matrix all(of.states(), std::vector<double>(of.states()));
  for (int32_t k = 0; k < plan.row(); ++k) {
    for (size_t state = 0; state < of.states(); ++state) {
      const size_t at = static_cast<size_t>(k * transfer_width) + state;
      all[state][static_cast<size_t>(plan.columns()[at])] += transfer[at];
    }
  }
  return all;
}

double sum_of(const Matrix& matrix) {
  double sum = 0;
  for (const std::vector<double>& row : matrix) {
    for (const double entry : row) {
      sum += entry;
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("The planned products are those of all positions of a stretch, but for a power of two") {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> exponent(-70, 3);  // powers of ten: a stretch's product is beyond a double's
  const std::vector<Automaton> automata = {
      {62, 2, [](int32_t state, int32_t c) { return c == 0        ? state < 60 ? state + 1 : -1
                                                    : state >= 20 ? 61
                                                                  : -1; }},
      {4, 7, [](int32_t state, int32_t c) { return state == 3 || c == 6 ? 3 : (state + c) % 3; }},
      {1, 1, [](int32_t, int32_t) { return 0; }}};
  for (const Automaton& automaton : automata) {
    for (const double spread : {0.0, 1.0}) {
      const int ended = automaton.states() == 4 ? 3 : -1;
      const std::vector<int32_t> plan = automaton.plan(ended);
      REQUIRE_FALSE(plan.empty());
      std::vector<double> weights(static_cast<size_t>(stretch_positions * automaton.classes));
      for (double& weight : weights) {
        weight = std::pow(10.0, spread * exponent(random));
      }
      std::vector<int32_t> fixed(stretch_positions, free_position);
      fixed[9] = 0;
      const Matrix found = by_plan(automaton, plan, weights, fixed);
      // Long double's range holds what a double's does not; here weights of each position are brought near to 1.
      std::vector<double> near = weights;
      for (size_t t = 0; t < stretch_positions; ++t) {
        const auto begin = near.begin() + static_cast<int64_t>(t) * automaton.classes;
        const double largest = *std::max_element(begin, begin + automaton.classes);
        std::for_each(begin, begin + automaton.classes, [largest](double& weight) { weight /= largest; });
      }
      const Matrix expected = product(automaton, near, fixed, ended);
      const double scale = sum_of(expected) / sum_of(found);
      REQUIRE(scale > 0);
      for (size_t state = 0; state < automaton.states(); ++state) {
        for (size_t column = 0; column < automaton.states(); ++column) {
          // What is lost beside others may be.
          CHECK(std::abs(found[state][column] * scale - expected[state][column]) <=
                1e-12 * expected[state][column] + 1e-200 * sum_of(expected));
        }
      }
    }
  }
}

TEST_CASE("Of products of too many entries there is no plan, nor where no text is as long as a stretch") {
  const auto scatters = [](int32_t state, int32_t c) { return (state * 5 + c * 17 + 1) % 61; };
  CHECK(Automaton(61, 6, scatters).plan().empty());
  CHECK(Automaton(65, 1, [](int32_t state, int32_t) { return (state + 1) % 65; }).plan().empty());
  CHECK_FALSE(Automaton(64, 1, [](int32_t state, int32_t) { return (state + 1) % 64; }).plan().empty());
  CHECK(Automaton(10, 1, [](int32_t state, int32_t) { return state < 9 ? state + 1 : -1; }).plan().empty());
}

}  // namespace transfer_planning_test
