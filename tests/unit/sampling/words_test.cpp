#include "sampling/words.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/sampling/turns.h"
#include "tests/unit/sampling/words.h"

using namespace demask;
using namespace demask::testing;

namespace {

constexpr int64_t space = 0, word = 1, part = 2, end = 3;  // " ", " th", "in", "g,"

WordEdges edges() {
  return {bools({0, 0, 1, 1})[0], bools({0, 1, 1, 0})[0]};
}

std::vector<float> highest(const std::vector<double>& scores, const std::vector<int64_t>& tokens,
                           const std::vector<int64_t>& counted) {
  const at::Tensor found =
      highest_of_word(floats(scores), at::tensor(tokens, at::kLong).unsqueeze(0), bools(counted), edges());
  return {found.data_ptr<float>(), found.data_ptr<float>() + found.numel()};
}

}  // namespace

TEST_CASE("Each piece of a word has the highest score of its pieces, and no other's") {
  CHECK(highest({1, 3, 2, 4, 5}, {word, part, end, word, part}, {1, 1, 1, 1, 1}) == std::vector<float>{3, 3, 3, 5, 5});
  CHECK(highest({1, 3, 2, 4}, {word, word, space, part}, {1, 1, 1, 1}) == std::vector<float>{1, 3, 2, 4});
  CHECK(highest({1, 2, 3}, {end, part, end}, {1, 1, 1}) == std::vector<float>{1, 3, 3});  // closed by the first
  CHECK(highest({7}, {part}, {1}) == std::vector<float>{7});
  CHECK(highest({-1, -3, -2, -4}, {word, part, end, word}, {1, 1, 1, 1}) == std::vector<float>{-1, -1, -1, -4});
}

TEST_CASE("A position that is not counted keeps its score and parts the words beside it") {
  CHECK(highest({1, 9, 2, 3}, {word, part, part, end}, {1, 0, 1, 1}) == std::vector<float>{1, 9, 3, 3});
}

TEST_CASE("A run of more than 64 tokens is no word") {
  for (const int64_t length : {64, 65}) {
    const at::Tensor scores = at::arange(length).to(at::kFloat).unsqueeze(0);
    const at::Tensor tokens = at::full({1, length}, part, at::kLong);
    const at::Tensor found = highest_of_word(scores, tokens, at::ones({1, length}, at::kBool), edges());
    CHECK(found.equal(length == 64 ? at::full_like(scores, 63) : scores));
  }
}

TEST_CASE("Words of random texts are those that a walk over them finds") {
  at::manual_seed(3);
  const at::Tensor scores = at::rand({5, 64}), tokens = at::randint(4, {5, 64}, at::kLong);
  const at::Tensor counted = at::rand({5, 64}) < 0.8;
  CHECK(highest_of_word(scores, tokens, counted, edges()).equal(walked(scores, tokens, counted, edges())));
}
