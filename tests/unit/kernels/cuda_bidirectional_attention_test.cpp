// Attention in which every query sees every key, on the tensor cores of compute capability 9.0, against float64.
#include <cmath>
#include <limits>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::cuda::bidirectional_attention;

namespace {

constexpr int64_t width = 64;

bool attention_here(at::ScalarType dtype) {
  return kernels_here() && kernels::cuda::has_bidirectional_attention_for(numbers({1, 1, 3 * width}, dtype), width);
}

struct Shape {
  int64_t batch, length, heads, key_heads;
};

at::Tensor some_qkv(const Shape& shape, at::ScalarType dtype) {
  return numbers({shape.batch, shape.length, (shape.heads + 2 * shape.key_heads) * width}, dtype);
}

// [B, T, H * D] in float64.
at::Tensor attention_of(const at::Tensor& qkv, const Shape& shape) {
  const auto heads = [&](int64_t first, int64_t count) {  // [B, H, T, D]
    return exact(qkv.narrow(2, first * width, count * width))
        .view({shape.batch, shape.length, count, width})
        .transpose(1, 2)
        .repeat_interleave(shape.heads / count, 1);
  };
  const at::Tensor scores = heads(0, shape.heads).matmul(heads(shape.heads, shape.key_heads).transpose(2, 3));
  const at::Tensor weights = scores.div(std::sqrt(static_cast<double>(width))).softmax(-1);
  return weights.matmul(heads(shape.heads + shape.key_heads, shape.key_heads)).transpose(1, 2).flatten(2);
}

}  // namespace

TEST_CASE("Attention on tensor cores is that of every query over every key, whatever the shape") {
  at::manual_seed(1337);
  for (const auto& [dtype, tolerance] : {std::pair{at::kHalf, 2e-3}, std::pair{at::kBFloat16, 1e-2}}) {
    if (!attention_here(dtype)) {
      return;
    }
    // Off every tile's edge and on it, with shared keys, with more work than a device takes at once.
    for (const Shape& shape : {Shape{3, 1, 2, 2}, Shape{2, 63, 2, 1}, Shape{2, 64, 3, 3}, Shape{2, 65, 2, 2},
                               Shape{2, 127, 2, 2}, Shape{5, 129, 4, 2}, Shape{2, 257, 6, 1}, Shape{3, 300, 3, 1},
                               Shape{4, 512, 4, 4}, Shape{1, 1000, 2, 2}, Shape{1, 2048, 2, 2}, Shape{70, 200, 4, 4}}) {
      CAPTURE(dtype, shape.batch, shape.length, shape.heads, shape.key_heads);
      const at::Tensor qkv = some_qkv(shape, dtype);
      CHECK(relative_error(bidirectional_attention(qkv, shape.heads, shape.key_heads), attention_of(qkv, shape)) <
            tolerance);
      // Scores so far apart that nearly one key alone counts, larger ones coming late.
      const at::Tensor far = qkv * at::linspace(0.1, 8, shape.length, qkv.options()).view({1, -1, 1});
      CHECK(relative_error(bidirectional_attention(far, shape.heads, shape.key_heads), attention_of(far, shape)) <
            tolerance);
    }
  }
}

TEST_CASE("A text's attention has the same bits in any batch, and a broken text stays alone") {
  at::manual_seed(1337);
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    if (!attention_here(dtype)) {
      return;
    }
    for (const Shape& shape :
         {Shape{130, 77, 4, 2}, Shape{130, 300, 2, 1}, Shape{130, 512, 4, 4}, Shape{40, 1024, 6, 6}}) {
      CAPTURE(dtype, shape.length);
      const at::Tensor qkv = some_qkv(shape, dtype);
      const auto attend = [&](const at::Tensor& of) {
        return bidirectional_attention(of, shape.heads, shape.key_heads);
      };
      const at::Tensor all = attend(qkv);
      for (const int64_t batch : {1, 4, 9, 30}) {
        CHECK(at::equal(attend(qkv.narrow(0, 5, batch).contiguous()), all.narrow(0, 5, batch)));
      }
      qkv[6].fill_(std::numeric_limits<float>::quiet_NaN());
      const at::Tensor beside = attend(qkv);
      CHECK(beside[6].isnan().all().item<bool>());
      CHECK(at::equal(beside[5], all[5]));
      CHECK(at::equal(beside[7], all[7]));
    }
  }
}
