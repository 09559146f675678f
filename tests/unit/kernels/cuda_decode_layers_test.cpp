// The kernel of all of a narrow model's layers against those of single steps, which cuda_decoding_test.cpp checks
// against float64: the same bits, for any number of texts. They may begin before what is queued right before them has
// ended (kernels/cuda.h), so each test waits for all that it gives them.
#include "tests/support/catch.h"
#include "tests/unit/kernels/cuda_formulas.h"

using namespace demask;
using kernels::cuda::DecodedLayer;

namespace {

void wait_for_device() {
  static_cast<void>(at::zeros({1}, at::device(at::kCUDA)).item<float>());
}

struct Form {
  int64_t width, head_width;
  bool biased;
  NormKind norm;
  bool rotates;
  Activation activation;
};

struct Layers {
  std::vector<DecodedLayer> layers;
  Activation activation;
};

Layers some_layers(const Form& form, int64_t batch, int64_t capacity, at::ScalarType dtype) {
  const int64_t width = form.width, heads = width / form.head_width;
  const auto norm = [&] {
    return kernels::Norm{numbers({width}, dtype, 1), form.biased ? numbers({width}, dtype) : at::Tensor(), 1e-5,
                         form.norm};
  };
  const auto linear = [&](int64_t inner, int64_t outputs) {
    return kernels::cuda::Linear{numbers({outputs, inner}, dtype).div_(std::sqrt(static_cast<double>(inner))),
                                 form.biased ? numbers({outputs}, dtype) : at::Tensor()};
  };
  const auto past = [&] { return numbers({batch, heads, capacity, form.head_width}, dtype); };
  Layers made{{}, form.activation};
  for (int layer = 0; layer < 3; ++layer) {
    kernels::Heads own = some_heads(heads, form.head_width, dtype, /*normed=*/form.rotates, form.rotates);
    own.queries = heads;
    made.layers.push_back({norm(), linear(width, 3 * width), linear(width, width), own, past(), past(), norm(),
                           linear(width, 4 * width), linear(4 * width, width)});
    // Positions turn by the same angles in all layers.
    made.layers.back().heads.cosine = made.layers.front().heads.cosine;
    made.layers.back().heads.sine = made.layers.front().heads.sine;
  }
  return made;
}

// With a past of its own.
Layers copy_of(Layers made) {
  for (DecodedLayer& layer : made.layers) {
    layer.keys = layer.keys.clone();
    layer.values = layer.values.clone();
  }
  return made;
}

void run_step_by_step(const at::Tensor& x, const Layers& of, const at::Tensor& position) {
  for (const DecodedLayer& layer : of.layers) {
    const at::Tensor qkv =
        kernels::cuda::row_product(x, {layer.query_key_value.weight, layer.query_key_value.bias, layer.attention_norm});
    const auto workspace = kernels::cuda::make_decode_workspace(layer.keys, layer.heads.queries);
    wait_for_device();  // for the workspace
    const at::Tensor mixed =
        kernels::cuda::decode_attention(qkv, layer.heads, layer.keys, layer.values, position, workspace);
    kernels::cuda::add_row_product(x, mixed, {layer.projection.weight, layer.projection.bias, {}});
    const at::Tensor hidden =
        kernels::cuda::row_product(x, {layer.expand.weight, layer.expand.bias, layer.feed_forward_norm, of.activation});
    kernels::cuda::add_row_product(x, hidden, {layer.contract.weight, layer.contract.bias, {}});
  }
}

void check_layers(const Form& form, int64_t batch, int64_t first_position, at::ScalarType dtype) {
  CAPTURE(form.width, form.head_width, form.biased, form.rotates, batch, first_position, dtype);
  const Layers own = some_layers(form, batch, 400, dtype), other = copy_of(own);
  // One token after another.
  for (int64_t position = first_position; position < first_position + 2; ++position) {
    const at::Tensor x = numbers({batch, 1, form.width}, dtype), expected = x.clone();
    const at::Tensor there = at::full({1}, position, at::device(at::kCUDA).dtype(at::kLong));
    wait_for_device();
    run_step_by_step(expected, other, there);
    wait_for_device();
    REQUIRE(kernels::cuda::decode_layers(x, own.layers, there, own.activation));
    CHECK(at::equal(x, expected));
    CHECK(at::isfinite(x).all().item<bool>());
    for (size_t layer = 0; layer < own.layers.size(); ++layer) {
      CHECK(at::equal(own.layers[layer].keys, other.layers[layer].keys));
      CHECK(at::equal(own.layers[layer].values, other.layers[layer].values));
    }
  }
}

// Whether the device has clusters.
bool clusters_here() {
  return kernels_here() &&
         kernels::cuda::has_tile_products_for(at::zeros({64, 64}, at::device(at::kCUDA).dtype(at::kBFloat16)));
}

constexpr Form small{256, 64, false, NormKind::layer, false, Activation::gelu};

}  // namespace

TEST_CASE("Layers in one kernel give the bits of the kernels of single steps") {
  if (!clusters_here()) {
    return;
  }
  at::manual_seed(1337);
  const Form others[] = {{256, 32, true, NormKind::layer, false, Activation::gelu_tanh},
                         {256, 128, true, NormKind::rms, true, Activation::silu},
                         {128, 64, false, NormKind::rms, true, Activation::gelu},
                         {128, 32, true, NormKind::layer, false, Activation::gelu}};
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    // The first key, the edges of what a split has (64 to 256 keys), several splits; few texts, and several a cluster.
    for (const int64_t position : {0, 63, 126, 254, 390}) {
      for (const int64_t batch : {1, 3, 4, 9}) {
        check_layers(small, batch, position, dtype);
      }
      for (const Form& form : others) {
        check_layers(form, 3, position, dtype);
      }
    }
    check_layers(small, 16, 300, dtype);
  }
}

TEST_CASE("Layers that do not fit one kernel are left alone") {
  if (!clusters_here()) {
    return;
  }
  at::manual_seed(1337);
  const auto takes = [](const Form& form, int64_t batch, at::ScalarType dtype) {
    const Layers own = some_layers(form, batch, 40, dtype);
    const at::Tensor x = numbers({batch, 1, form.width}, dtype), before = x.clone();
    const at::Tensor there = at::zeros({1}, at::device(at::kCUDA).dtype(at::kLong));
    wait_for_device();
    const bool taken = kernels::cuda::decode_layers(x, own.layers, there, own.activation);
    CHECK(at::equal(x, before) != taken);
    return taken;
  };
  CHECK(takes(small, 2, at::kBFloat16));
  CHECK_FALSE(takes(small, 2, at::kFloat));
  CHECK_FALSE(takes(small, 1000, at::kBFloat16));
  Form other = small;
  other.width = 384;
  CHECK_FALSE(takes(other, 2, at::kBFloat16));
  other = small;
  other.head_width = 16;
  CHECK_FALSE(takes(other, 2, at::kBFloat16));
}
