// All that follows the logits, against the kernels of single steps.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "kernels/cuda.h"
#include "sampling/confidence.h"
#include "sampling/noise.h"
#include "sampling/token_draw.h"
#include "tests/support/catch.h"

using namespace demask;

namespace next_draw_test {
namespace {

bool kernels_here() {
  return kernels::cuda::built() && at::hasCUDA();
}

struct Texts {
  at::Tensor tokens, scores, position, steps, broken;

  explicit Texts(int64_t batch)
      : tokens(at::zeros({batch, 12}, at::device(at::kCUDA).dtype(at::kLong))),
        scores(at::zeros({12, batch}, at::device(at::kCUDA))),
        position(at::full({1}, 6, at::device(at::kCUDA).dtype(at::kLong))),
        steps(at::full({1}, 5, at::device(at::kCUDA).dtype(at::kLong))),
        broken(at::zeros({}, at::device(at::kCUDA).dtype(at::kBool))) {}
};

void check_draw(const at::Tensor& logits, const DrawFilters& filters) {
  const int64_t batch = logits.size(0), outputs = logits.size(1);
  CAPTURE(batch, outputs, logits.scalar_type(), filters.temperature, filters.top_p);
  REQUIRE(kernels::cuda::has_next_draw_for(logits));
  at::Tensor forbidden = at::zeros({outputs}, at::device(at::kCUDA));
  forbidden.slice(0, 0, outputs, 7).fill_(-std::numeric_limits<float>::infinity());
  const Streams streams{at::arange(batch, forbidden.options().dtype(at::kLong)) * 1000003,
                        at::arange(batch, forbidden.options().dtype(at::kLong)) + 17};
  Texts own(batch), other(batch);
  for (int64_t step = 5; step < 8; ++step) {
    const at::Tensor uniforms = uniform(streams, other.steps, 1, Purpose::draw).squeeze(1);
    const Draw next = draw_tokens_where({}, {}, logits, forbidden, uniforms, filters, other.broken);
    other.tokens.select(1, step + 2).copy_(next.ids);
    other.scores.select(0, step + 2).copy_(token_log_probability(logits, next.ids, other.broken));
    other.steps.add_(1);
    kernels::cuda::draw_next(logits, forbidden, usable(filters),
                             {streams.seeds, streams.indices, own.steps, static_cast<uint32_t>(Purpose::draw),
                              own.position, own.tokens, own.scores},
                             own.broken);
    CHECK(at::equal(own.tokens, other.tokens));
    CHECK(at::equal(own.scores.nan_to_num(), other.scores.nan_to_num()));
    CHECK(at::equal(own.broken, other.broken));
    CHECK(own.position.item<int64_t>() == step + 2);
    CHECK(own.steps.item<int64_t>() == step + 1);
  }
}

}  // namespace
}  // namespace next_draw_test

TEST_CASE("What follows a decoded token's logits has the bits of single steps") {
  using namespace next_draw_test;
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  DrawFilters usual, greedy, filtered, likeliest;
  greedy.temperature = 0;
  filtered.top_k = 20;
  filtered.top_p = 0.8;
  likeliest.top_k = 200;
  likeliest.temperature = 0.7;
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    // In one kernel, by a cluster of blocks a text where there are many outputs, and by several kernels where there are
    // more texts or a nucleus.
    for (const int64_t outputs : {5, 65, 97, 129, 256, 257, 20011, 50257}) {
      for (const int64_t batch : {1, 4, 17, 64, 300}) {
        if (outputs > 5 && outputs < 20000 && batch > 64) {
          continue;
        }
        // Rows that lie apart, as a head's with padding do.
        const at::Tensor padded = at::randn({batch, outputs + 3}, at::device(at::kCUDA)).mul_(3).to(dtype);
        for (const DrawFilters& filters : {usual, greedy, filtered, likeliest}) {
          check_draw(padded.narrow(1, 0, outputs), filters);
        }
      }
    }
  }
  for (const int64_t outputs : {65, 20011}) {
    at::Tensor broken = at::randn({3, outputs}, at::device(at::kCUDA));
    broken[1][9] = std::nan("");
    check_draw(broken, usual);
  }
}

TEST_CASE("The likeliest tokens are found wherever they stand and however many are equal") {
  using namespace next_draw_test;
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  DrawFilters few, many;
  few.top_k = 200;
  many.top_k = 3000;
  const at::Tensor even = at::randn({4, 50257}, at::device(at::kCUDA)).mul_(3);
  at::Tensor neighbours = even.clone();
  neighbours.slice(1, 0, 2000).add_(30);
  for (const at::Tensor& logits : {neighbours, even.round(), at::zeros_like(even)}) {
    for (const DrawFilters& filters : {few, many}) {
      check_draw(logits, filters);
    }
  }
}
