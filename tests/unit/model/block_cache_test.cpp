// Forwards over a window against whole forwards in float64, of which each layer's keys and values outside of the window
// are replaced by those that were kept.
#include "model/block_cache.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>
#include <vector>

#include "model/device.h"
#include "model/transformer.h"
#include "tests/support/catch.h"
#include "tests/unit/checkpoint/reference_transformer.h"
#include "tests/unit/model/random_transformer.h"

using namespace demask;
using namespace demask::testing;

namespace {

constexpr int64_t texts = 2, length = 37;

// Rounding moves a few rows of whole forwards in bfloat16 by up to 0.05 too; keys and values of the step itself in
// place of those kept would move them by 0.08 to 0.4, see below.
constexpr double half_tolerance = 0.07;

// A step: which positions change before it, and what it computes.
struct Forward {
  Extent extent;
  Window window;
};

// Two blocks inside of the text, the second beginning where the first ends; the text's beginning; all to its end.
const std::vector<Forward> forwards = {
    {Extent::whole, {9, 7}},   {Extent::window, {9, 7}},   {Extent::window, {9, 7}},
    {Extent::whole, {16, 7}},  {Extent::window, {16, 7}},  {Extent::window, {0, 5}},
    {Extent::whole, {21, 16}}, {Extent::window, {21, 16}}, {Extent::window, {21, 16}},
};

at::Tensor tokens_of_step(const at::Tensor& before, const Window& window, int64_t step, int64_t ids) {
  at::Tensor tokens = before.clone();
  const at::Tensor changed = tokens.narrow(-1, window.first, window.count);
  changed.copy_((changed * 31 + 7 * step + 1).remainder(ids));
  return tokens;
}

double relative_error(const at::Tensor& value, const at::Tensor& reference) {
  const at::Tensor exact = reference.to(at::kDouble);
  return ((value.to(at::kCPU, at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

// What a text's logits at the window are, by the reference: [count, V].
at::Tensor reference_rows(const ReferenceTransformer& reference, bool shifted, const at::Tensor& text,
                          const Forward& forward, ReferenceTransformer::Kept& kept) {
  const bool has_one_before = shifted && forward.window.first > 0;
  kept.first = forward.extent == Extent::whole ? 0 : forward.window.first - (has_one_before ? 1 : 0);
  kept.count = forward.extent == Extent::whole ? length : forward.window.first + forward.window.count - kept.first;
  const std::vector<int64_t> ids(text.data_ptr<int64_t>(), text.data_ptr<int64_t>() + length);
  const at::Tensor all = reference.logits(ids, &kept);
  const at::Tensor placed = shifted ? at::cat({all.narrow(0, 0, 1), all.narrow(0, 0, length - 1)}) : all;
  return placed.narrow(0, forward.window.first, forward.window.count);
}

void check_against_reference(Transformer& model, const NamedDescription& named, double tolerance) {
  const TransformerWeights exact = random_weights(named, at::kDouble);
  const ReferenceTransformer reference(exact);
  const bool shifted = named.description.shifted;
  std::vector<ReferenceTransformer::Kept> kept(texts);
  const std::unique_ptr<BlockCache> cache = model.begin_blocks(texts, length);
  REQUIRE(cache != nullptr);
  at::Tensor tokens = at::arange(texts * length).mul(7919).remainder(named.description.vocabulary_size);
  tokens = tokens.view({texts, length});
  at::Tensor before;
  for (size_t step = 0; step < forwards.size(); ++step) {
    const Forward& forward = forwards[step];
    const auto& [first, count] = forward.window;
    CAPTURE(step, first, count);
    tokens = tokens_of_step(tokens, forward.window, static_cast<int64_t>(step), named.description.vocabulary_size);
    cache->choose(forward.window);
    CHECK(cache->computed() == (shifted && first > 0 ? count + 1 : count));
    const at::Tensor logits = cache->logits(tokens.to(model.device()), forward.extent);
    REQUIRE(logits.sizes() == at::IntArrayRef({texts, length, named.description.outputs}));
    for (int64_t text = 0; text < texts; ++text) {
      const at::Tensor expected =
          reference_rows(reference, shifted, tokens[text], forward, kept[static_cast<size_t>(text)]);
      CHECK(relative_error(logits[text].narrow(0, first, count), expected) < tolerance);
    }
    if (forward.extent == Extent::window) {
      CHECK(at::equal(logits.narrow(1, 0, first), before.narrow(1, 0, first)));
      CHECK(at::equal(logits.narrow(1, first + count, length - first - count),
                      before.narrow(1, first + count, length - first - count)));
    }
    before = logits.clone();
  }
}

// That a cache's numbers are those of the forwards without it.
void check_same_bits(Transformer& model, const NamedDescription& named) {
  const at::Tensor tokens =
      at::arange(texts * length).mul(31).remainder(named.description.vocabulary_size).view({texts, length});
  const std::unique_ptr<BlockCache> cache = model.begin_blocks(texts, length);
  cache->choose({0, length});
  const at::Tensor expected = model.logits(tokens);
  CHECK(at::equal(cache->logits(tokens, Extent::whole), expected));
  const at::Tensor others = tokens_of_step(tokens, {0, length}, 1, named.description.vocabulary_size);
  CHECK(at::equal(cache->logits(others, Extent::window), model.logits(others)));  // over everything

  const at::Tensor positions = at::tensor({11, 12, 17, 16, 11, 14}, at::kLong).view({texts, 3});
  const at::Tensor inside = tokens_of_step(others, {11, 7}, 2, named.description.vocabulary_size);
  cache->choose({11, 7});
  const at::Tensor some = cache->logits_at(inside, positions, Extent::window);
  const at::Tensor all = cache->logits(inside, Extent::window);
  CHECK(at::equal(some, all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}))));
  if (!named.description.bidirectional) {
    // Nothing before the window changed, and nothing after it is seen.
    CHECK(at::equal(all.narrow(1, 11, 7), model.logits(inside).narrow(1, 11, 7)));
  }
}

}  // namespace

TEST_CASE("What the reference keeps moves its logits where a model looks both ways, far beyond rounding") {
  for (const NamedDescription& named : mixtures()) {
    CAPTURE(named.name);
    const TransformerWeights exact = random_weights(named, at::kDouble);
    const ReferenceTransformer reference(exact);
    const Forward whole = {Extent::whole, {9, 7}}, window = {Extent::window, {9, 7}};
    ReferenceTransformer::Kept kept, fresh;
    const at::Tensor tokens = at::arange(length).mul(31).remainder(named.description.vocabulary_size);
    const at::Tensor changed = tokens_of_step(tokens, window.window, 1, named.description.vocabulary_size);
    reference_rows(reference, named.description.shifted, tokens, whole, kept);
    const at::Tensor expected = reference_rows(reference, named.description.shifted, changed, window, kept);
    const at::Tensor others = reference_rows(reference, named.description.shifted, changed, whole, fresh);
    const double moved = relative_error(others, expected);
    CHECK((named.description.bidirectional ? moved > 0.01 : moved < 1e-12));
  }
}

TEST_CASE("A forward over a window is one over the whole text with the keys and values kept elsewhere") {
  for (const NamedDescription& named : mixtures()) {
    CAPTURE(named.name);
    for (const auto& [dtype, tolerance] : {std::pair(at::kFloat, 1e-5), std::pair(at::kBFloat16, half_tolerance)}) {
      CAPTURE(dtype);
      Transformer own(random_weights(named, dtype));
      check_against_reference(own, named, tolerance);
    }
    Transformer plain(random_weights(named, at::kDouble), {}, KernelChoice::libtorch);
    check_against_reference(plain, named, 1e-12);
  }
}

TEST_CASE("What a cache computes whole, over a window of everything or after a causal prefix is what the model does") {
  for (const NamedDescription& named : mixtures()) {
    CAPTURE(named.name);
    Transformer single(random_weights(named, at::kFloat)), half(random_weights(named, at::kBFloat16));
    check_same_bits(single, named);
    check_same_bits(half, named);
  }
}

TEST_CASE("On CUDA a forward over a window computes what the reference does, in every precision") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const NamedDescription& named : mixtures()) {
    CAPTURE(named.name);
    for (const auto& [dtype, tolerance] : {std::pair(at::kFloat, 1e-3), std::pair(at::kBFloat16, half_tolerance)}) {
      for (const KernelChoice kernels : {KernelChoice::own, KernelChoice::libtorch}) {
        CAPTURE(dtype, kernels == KernelChoice::own);
        Transformer model(to_device(random_weights(named, dtype), at::kCUDA), {}, kernels);
        check_against_reference(model, named, tolerance);
      }
    }
  }
}
