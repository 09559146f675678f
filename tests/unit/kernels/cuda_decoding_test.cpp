// demask's CUDA kernels of decoding, each against its formula in float64. They may begin before what is queued right
// before them has ended (kernels/cuda.h), so each test reads all that it gives them, for the reference, before it calls
// them.
#include <algorithm>
#include <optional>

#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;

namespace {

at::Tensor at_position(int64_t position) {
  at::Tensor there = at::full({1}, position, at::device(at::kCUDA).dtype(at::kLong));
  REQUIRE(there.item<int64_t>() == position);  // waits for it
  return there;
}

// The past of a batch: keys and values [B, K, capacity, D].
struct Past {
  at::Tensor keys, values;
};

// What the queries of qkv [B, 1, (H + 2K) * D] find, [B, 1, H * D]; the past's position is overwritten by the new
// token.
at::Tensor attention_of(const at::Tensor& qkv, const kernels::Heads& heads, Past& past, int64_t position) {
  const Parts parts = prepared(qkv, heads, position);
  past.keys.narrow(2, position, 1).copy_(parts.keys);
  past.values.narrow(2, position, 1).copy_(parts.values);
  const auto seen = [&](const at::Tensor& x) {
    return x.narrow(2, 0, position + 1).repeat_interleave(heads.queries / heads.keys, 1);
  };
  const double scale = std::sqrt(static_cast<double>(past.keys.size(3)));
  const at::Tensor scores = at::matmul(parts.queries, seen(past.keys).transpose(2, 3)) / scale;
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), seen(past.values)).transpose(1, 2);
  return mixed.reshape({qkv.size(0), 1, heads.queries * past.keys.size(3)});
}

struct Case {
  int64_t batch, capacity, position;
};

void check_attention(const Case& of, const kernels::Heads& heads, int64_t width, at::ScalarType dtype,
                     double tolerance) {
  CAPTURE(dtype, width, heads.keys, of.batch, of.capacity, of.position);
  const Past past{numbers({of.batch, heads.keys, of.capacity, width}, dtype),
                  numbers({of.batch, heads.keys, of.capacity, width}, dtype)};
  const kernels::cuda::DecodeWorkspace workspace = kernels::cuda::make_decode_workspace(past.keys, heads.queries);
  Past exact_past{exact(past.keys), exact(past.values)};
  // One token after another, in one workspace.
  for (int64_t position = of.position; position < std::min(of.position + 2, of.capacity); ++position) {
    const at::Tensor qkv = numbers({of.batch, 1, (heads.queries + 2 * heads.keys) * width}, dtype);
    const at::Tensor expected = attention_of(qkv, heads, exact_past, position), there = at_position(position);
    const at::Tensor out = kernels::cuda::decode_attention(qkv, heads, past.keys, past.values, there, workspace);
    CHECK(relative_error(out, expected) < 2 * tolerance);
    CHECK(relative_error(past.keys, exact_past.keys) < tolerance);
    CHECK(relative_error(past.values, exact_past.values) == 0);
    exact_past = {exact(past.keys), exact(past.values)};
  }
}

// The norms of the row products' input that are tried: none, LayerNorm, RMSNorm.
std::optional<kernels::Norm> norm_number(int number, int64_t width, at::ScalarType dtype) {
  if (number == 0) {
    return std::nullopt;
  }
  return kernels::Norm{numbers({width}, dtype, 1), number == 1 ? numbers({width}, dtype) : at::Tensor(), 1e-5,
                       number == 1 ? NormKind::layer : NormKind::rms};
}

at::Tensor product_of(const at::Tensor& x, const kernels::cuda::RowProduct& product, int64_t outputs) {
  at::Tensor sums = at::matmul(product.norm ? norm_of(exact(x), *product.norm) : exact(x), exact(product.weight).t());
  sums = product.bias.defined() ? sums + exact(product.bias) : sums;
  const at::Tensor own = sums.narrow(2, 0, outputs);
  const at::Tensor active = product.activation ? activation_of(own, *product.activation) : own;
  return product.gated ? active * sums.narrow(2, outputs, outputs) : active;
}

struct ProductShape {
  int64_t inner, outputs;
};

void check_products(const ProductShape& shape, bool gated, int norm, at::ScalarType dtype, double tolerance) {
  kernels::cuda::RowProduct product;
  product.weight =
      numbers({(gated ? 2 : 1) * shape.outputs, shape.inner}, dtype).div_(std::sqrt(static_cast<double>(shape.inner)));
  product.bias = norm == 1 ? at::Tensor() : numbers({product.weight.size(0)}, dtype);
  product.norm = norm_number(norm, shape.inner, dtype);
  product.gated = gated;
  if (gated || norm != 0) {
    product.activation = gated ? Activation::silu : norm == 1 ? Activation::gelu_tanh : Activation::gelu;
  }
  const at::Tensor all = numbers({70, 1, shape.inner}, dtype, 0.5);
  if (!kernels::cuda::has_row_products_for(shape.inner, all)) {
    return;
  }
  const at::Tensor expected = product_of(all, product, shape.outputs);
  at::Tensor first;  // of the first text alone
  // The edges of what a block takes of them, and several blocks.
  for (const int64_t rows : {1, 2, 3, 4, 7, 8, 9, 16, 17, 32, 33, 64, 70}) {
    CAPTURE(dtype, shape.inner, shape.outputs, rows, gated, norm);
    const at::Tensor x = all.narrow(0, 0, rows), wanted = expected.narrow(0, 0, rows);
    const at::Tensor out = kernels::cuda::row_product(x, product);
    CHECK(relative_error(out, wanted) < 2 * tolerance);
    first = first.defined() ? first : out.clone();
    CHECK(at::equal(out.narrow(0, 0, 1), first));
    CHECK(at::equal(kernels::cuda::row_product(x.narrow(0, rows - 1, 1), product), out.narrow(0, rows - 1, 1)));
    const at::Tensor onto = numbers(out.sizes(), dtype), both = exact(onto) + wanted;
    kernels::cuda::add_row_product(onto, x, product);
    CHECK(relative_error(onto, both) < 2 * tolerance);
  }
}

}  // namespace

TEST_CASE("The decoding kernel attends to the past and to the new token, whose key and value it keeps") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  // A head's first keys, the edges of what a block takes of them (64 to 1,024), several blocks; few texts and many.
  const std::vector<Case> cases = {{1, 1, 0},
                                   {1, 40, 0},
                                   {3, 40, 31},
                                   {2, 300, 63},
                                   {1, 300, 127},
                                   {1, 300, 128},
                                   {2, 610, 255},
                                   {1, 610, 600},
                                   {1, 2100, 2046},
                                   {80, 40, 17},
                                   // Heads that are taken as they are.
                                   {1, 700, 300},
                                   {2, 1000, 126},
                                   {1, 1024, 1022}};
  for (const auto& [dtype, tolerance] : precisions) {
    for (const int64_t width : {16, 64, 128}) {
      for (const int64_t keys : {8, 2, 1}) {
        for (const Case& each : cases) {
          const bool odd = each.position % 2 == 1;
          check_attention(each, some_heads(keys, width, dtype, odd, each.capacity < 700 && keys != 2), width, dtype,
                          tolerance);
        }
      }
    }
  }
}

TEST_CASE("The decoding kernel gives a text the same bits whatever stands beside it and however long it may grow") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  constexpr int64_t width = 64, position = 301;
  const std::pair<int64_t, bool> forms[] = {{8, true}, {8, false}, {2, true}, {1, true}};
  for (const auto& [keys, turned] : forms) {
    const kernels::Heads heads = some_heads(keys, width, at::kBFloat16, /*normed=*/turned, /*rotates=*/turned);
    const Past all{numbers({40, keys, 2048, width}, at::kBFloat16), numbers({40, keys, 2048, width}, at::kBFloat16)};
    const at::Tensor qkv = numbers({40, 1, (heads.queries + 2 * keys) * width}, at::kBFloat16);
    const auto attend = [&](int64_t first, int64_t batch, int64_t capacity) {
      const auto part = [&](const at::Tensor& x) {
        return x.narrow(0, first, batch).narrow(2, 0, capacity).contiguous();
      };
      const at::Tensor own_keys = part(all.keys), own_values = part(all.values);
      const kernels::cuda::DecodeWorkspace workspace = kernels::cuda::make_decode_workspace(own_keys, heads.queries);
      const at::Tensor there = at_position(position);
      return kernels::cuda::decode_attention(qkv.narrow(0, first, batch), heads, own_keys, own_values, there,
                                             workspace);
    };
    // More splits than a cluster has blocks, and as many as four and eight of them.
    const at::Tensor whole = attend(0, 40, 2048);
    CHECK(at::equal(attend(7, 1, 2048), whole.narrow(0, 7, 1)));
    CHECK(at::equal(attend(7, 1, 1024), whole.narrow(0, 7, 1)));
    CHECK(at::equal(attend(0, 40, 1024), whole));
    CHECK(at::equal(attend(7, 1, 302), whole.narrow(0, 7, 1)));
    CHECK(at::equal(attend(7, 2, 1000), whole.narrow(0, 7, 2)));
    CHECK(at::equal(attend(5, 9, 400), whole.narrow(0, 5, 9)));
  }
}

TEST_CASE("Products of a few rows do what stands before and after them, a row the same whatever runs beside it") {
  if (!kernels_here()) {
    return;
  }
  at::manual_seed(1337);
  // One warp for a row of the matrix and several, whole chunks and part of them, more outputs than blocks take at once.
  const std::vector<ProductShape> shapes = {{8, 3},     {100, 50}, {768, 257}, {1024, 64},  {1032, 50},  {3072, 99},
                                            {4104, 31}, {8192, 9}, {16384, 5}, {16, 20011}, {1032, 9001}};
  for (const auto& [dtype, tolerance] : precisions) {
    for (const ProductShape& shape : shapes) {
      const bool large = shape.outputs > 5000;
      for (const bool gated : {false, true}) {
        for (const int norm : {0, 1, 2}) {
          if (!large || norm == (gated ? 2 : 1)) {
            check_products(shape, gated, norm, dtype, tolerance);
          }
        }
      }
    }
  }
}

TEST_CASE("Products of a few rows take rows of whole chunks") {
  if (!kernels_here()) {
    return;
  }
  const at::Tensor wide = at::zeros({1}, at::device(at::kCUDA)), narrow = wide.to(at::kBFloat16);
  for (const int64_t inner : {8, 768, 3072, 16384}) {
    CHECK(kernels::cuda::has_row_products_for(inner, narrow));
  }
  CHECK(kernels::cuda::has_row_products_for(100, wide));
  CHECK_FALSE(kernels::cuda::has_row_products_for(100, narrow));
  CHECK_FALSE(kernels::cuda::has_row_products_for(257, wide));
  CHECK_FALSE(kernels::cuda::has_row_products_for(257, narrow));
  CHECK(kernels::cuda::has_row_products_for(8192, wide));  // whose rows of 32 KB are the longest that a block holds
  CHECK_FALSE(kernels::cuda::has_row_products_for(8200, wide));
}
