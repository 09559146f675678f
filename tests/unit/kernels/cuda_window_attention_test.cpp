// Attention of a window of positions whose text's other keys and values are kept, against float64.
#include <cmath>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::cuda::window_attention;

namespace {

constexpr int64_t width = 128;

bool window_attention_here() {
  return kernels_here() && kernels::cuda::has_window_attention_for(
                               some_heads(2, width, at::kBFloat16, /*normed=*/false, /*rotates=*/true),
                               numbers({1, 2, 64, width}, at::kBFloat16), 32);
}

}  // namespace

TEST_CASE("A window attends to the kept positions and its own, keeps its own, and depends on no other text") {
  if (!window_attention_here()) {
    return;
  }
  at::manual_seed(1337);
  struct Case {
    int64_t keys, first, count, length;
  };
  // A window at either end and inside, one row and as many as are taken, fewer keys than splits, more than are staged.
  for (const Case& of : {Case{8, 32, 32, 300}, Case{2, 0, 5, 40}, Case{4, 267, 33, 300}, Case{8, 636, 64, 700},
                         Case{1, 7, 1, 8}, Case{8, 0, 32, 32}, Case{2, 600, 17, 1300}}) {
    for (const auto& [dtype, tolerance] : {std::pair(at::kHalf, 4e-3), std::pair(at::kBFloat16, 2e-2)}) {
      CAPTURE(of.keys, of.first, of.count, of.length, dtype);
      constexpr int64_t batch = 3;
      const kernels::Heads heads = some_heads(of.keys, width, dtype, /*normed=*/false, /*rotates=*/true);
      const at::Tensor qkv = numbers({batch, of.count, (heads.queries + 2 * of.keys) * width}, dtype),
                       keys = numbers({batch, of.keys, of.length, width}, dtype), values = at::randn_like(keys),
                       first_keys = keys.clone(), first_values = values.clone();
      const at::Tensor positions = at::arange(of.count, qkv.options().dtype(at::kLong)) + of.first;
      const Parts parts = prepared(qkv, heads, of.first);
      const at::Tensor kept_keys = exact(keys), kept_values = exact(values);
      kept_keys.narrow(2, of.first, of.count).copy_(parts.keys);
      kept_values.narrow(2, of.first, of.count).copy_(parts.values);
      const int64_t each = heads.queries / of.keys;
      const at::Tensor scores =
          parts.queries.matmul(kept_keys.repeat_interleave(each, 1).transpose(2, 3)).div(std::sqrt(width)).softmax(-1);
      const at::Tensor expected = scores.matmul(kept_values.repeat_interleave(each, 1))
                                      .transpose(1, 2)
                                      .reshape({batch, of.count, heads.queries * width});
      const at::Tensor mixed = window_attention(qkv, heads, keys, values, positions);
      CHECK(relative_error(mixed, expected) < tolerance);
      CHECK(relative_error(keys, kept_keys) < tolerance);
      CHECK(at::equal(exact(values), kept_values));
      const at::Tensor alone = window_attention(qkv.narrow(0, 1, 1), heads, first_keys.narrow(0, 1, 1),
                                                first_values.narrow(0, 1, 1), positions);
      CHECK(at::equal(alone, mixed.narrow(0, 1, 1)));
    }
  }
}

TEST_CASE("Whether a window is attended to by its own kernel depends on neither the number of texts nor their length") {
  if (!window_attention_here()) {
    return;
  }
  const kernels::Heads heads = some_heads(1, width, at::kBFloat16, /*normed=*/false, /*rotates=*/true);
  for (const int64_t batch : {1, 2, 8}) {
    for (const int64_t length : {1, 40, 63, 501}) {
      CAPTURE(batch, length);
      CHECK(kernels::cuda::has_window_attention_for(heads, numbers({batch, 1, length, width}, at::kBFloat16), 1));
    }
  }
}
