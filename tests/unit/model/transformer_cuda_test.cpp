// What demask's CUDA kernels make of every mixture of a description's parts, against LibTorch's operations in float64
// on the CPU.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/random_weights.h"
#include "model/device.h"
#include "model/transformer.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

constexpr int64_t vocabulary = 131;  // no multiple of eight

struct Mixture {
  NormKind norm;
  Activation activation;
  bool gated;
  enum class Positions { absolute, rotary, scaled } positions;
  int64_t keys;  // of 8 heads
  bool head_norms, bidirectional, shifted;
};

TransformerDescription describe(const Mixture& mixture, int64_t head_width) {
  TransformerDescription of;
  of.family = "test";
  of.layers = 2;
  of.heads = 8;
  of.key_value_heads = mixture.keys;
  of.head_width = head_width;
  of.width = 96;  // not heads * head_width
  of.feed_forward_width = 160;
  of.block_size = 64;
  of.vocabulary_size = of.outputs = vocabulary;
  of.norm = mixture.norm;
  of.norm_epsilon = 1e-3;  // large enough to be seen
  of.activation = mixture.activation;
  of.gated = mixture.gated;
  of.rotary = mixture.positions != Mixture::Positions::absolute;
  if (mixture.positions == Mixture::Positions::scaled) {
    of.rotary_scaling = RotaryScaling{8, 1, 4, 32};
  }
  of.bidirectional = mixture.bidirectional;
  of.shifted = mixture.shifted;
  return of;
}

// A sixth of all mixtures, in which any three parts occur in every combination of theirs: parts of two kinds have an
// even sum, and this sum and those of three kinds together one that three divides.
std::vector<Mixture> covering_mixtures() {
  struct FeedForward {
    Activation activation;
    bool gated;
  };
  constexpr std::array<FeedForward, 3> feed_forwards = {
      {{Activation::gelu, false}, {Activation::gelu_tanh, false}, {Activation::silu, true}}};
  constexpr std::array<Mixture::Positions, 3> positions = {Mixture::Positions::absolute, Mixture::Positions::rotary,
                                                           Mixture::Positions::scaled};
  constexpr std::array<int64_t, 3> keys = {8, 2, 1};
  std::vector<Mixture> mixtures;
  for (size_t of_two = 0; of_two < 16; ++of_two) {
    const auto bit = [&](size_t place) { return (of_two >> place & 1U) != 0; };
    const size_t sum = std::bitset<4>(of_two).count();
    for (size_t a = 0; sum % 2 == 0 && a < 3; ++a) {
      for (size_t b = 0; b < 3; ++b) {
        const size_t c = (9 + sum - a - b) % 3;
        mixtures.push_back({bit(3) ? NormKind::rms : NormKind::layer, feed_forwards[a].activation,
                            feed_forwards[a].gated, positions[b], keys[c], bit(0), bit(1), bit(2)});
      }
    }
  }
  return mixtures;
}

TransformerWeights weights_of(const TransformerDescription& of, bool head_norms) {
  at::manual_seed(1337);
  return random_weights(of, {RandomBiases::all, head_norms}, at::TensorOptions(at::kDouble));
}

TransformerWeights moved(TransformerWeights weights, at::ScalarType dtype) {
  const auto move = [&](at::Tensor& x) { x = x.defined() ? x.to(at::kCUDA, dtype) : x; };
  for (at::Tensor* each : {&weights.token_embedding, &weights.position_embedding, &weights.final_norm.weight,
                           &weights.final_norm.bias, &weights.head.weight, &weights.head.bias}) {
    move(*each);
  }
  for (LayerWeights& layer : weights.layers) {
    for (NormWeights* norm : {&layer.attention_norm, &layer.query_norm, &layer.key_norm, &layer.feed_forward_norm}) {
      move(norm->weight);
      move(norm->bias);
    }
    for (LinearWeights* linear :
         {&layer.query_key_value, &layer.attention_projection, &layer.expand, &layer.contract}) {
      move(linear->weight);
      move(linear->bias);
    }
  }
  return weights;
}

at::Tensor some_tokens(int64_t batch, int64_t length) {
  return at::arange(batch * length, at::kLong).mul(7919).remainder(vocabulary).view({batch, length});
}

double relative_error(const at::Tensor& value, const at::Tensor& reference) {
  const at::Tensor exact = reference.to(at::kCPU, at::kDouble);
  return ((value.to(at::kCPU, at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

void check_mixture(const Mixture& mixture, int64_t head_width) {
  CAPTURE(static_cast<int>(mixture.norm), static_cast<int>(mixture.activation), mixture.gated,
          static_cast<int>(mixture.positions), mixture.keys, mixture.head_norms, mixture.bidirectional, mixture.shifted,
          head_width);
  const TransformerWeights weights = weights_of(describe(mixture, head_width), mixture.head_norms);
  const at::Tensor tokens = some_tokens(3, 37);
  const at::Tensor exact = Transformer(weights, {}, KernelChoice::libtorch).logits(tokens);
  const at::Tensor positions = at::tensor({0, 1, 36, 5, 5, 20, 7, 0, 35}, at::kLong).view({3, 3});
  const at::Tensor exact_there = exact.gather(1, positions.unsqueeze(2).expand({-1, -1, vocabulary}));
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 1e-4}, std::pair{at::kBFloat16, 6e-2}}) {
    CAPTURE(dtype);
    Transformer model(moved(weights, dtype));
    const at::Tensor logits = model.logits(tokens.cuda());
    CHECK(logits.sizes() == exact.sizes());
    CHECK(relative_error(logits, exact) < tolerance);
    CHECK(relative_error(model.logits_at(tokens.cuda(), positions.cuda()), exact_there) < tolerance);
  }
}

// Each new token's logits against those of the whole text in float64, by a cache of keys and values.
void check_decoding(const Mixture& mixture, int64_t head_width, int64_t batch) {
  CAPTURE(mixture.keys, mixture.gated, mixture.head_norms, static_cast<int>(mixture.positions), head_width, batch);
  const TransformerDescription of = describe(mixture, head_width);
  const TransformerWeights weights = weights_of(of, mixture.head_norms);
  const int64_t longest_prompt = 5, total = of.block_size + 3;  // the last ones past the block
  const at::Tensor tokens = some_tokens(batch, total);
  Transformer reference(weights, {}, KernelChoice::libtorch);
  const at::Tensor exact = reference.logits(tokens.narrow(1, 0, of.block_size));
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 1e-4}, std::pair{at::kBFloat16, 6e-2}}) {
    Transformer model(moved(weights, dtype));
    const GrowingText text{tokens.cuda(), at::full({1}, longest_prompt - 1, at::device(at::kCUDA).dtype(at::kLong))};
    const std::unique_ptr<DecodingSession> session = model.begin(text);
    for (const int64_t prompt : {longest_prompt, int64_t{1}}) {  // a session can start again
      text.position.fill_(prompt - 1);
      session->restart(prompt);
      for (int64_t length = prompt; length < total; ++length) {
        CAPTURE(dtype, prompt, length);
        const at::Tensor whole = length <= of.block_size
                                     ? exact.select(1, length - 1)
                                     : reference.logits(tokens.narrow(1, length - of.block_size, of.block_size))
                                           .select(1, of.block_size - 1);
        REQUIRE(relative_error(session->next_logits(), whole) < tolerance);
        text.position.add_(1);
        session->advance();
      }
    }
  }
}

// A text alone and among others, at lengths for each of attention's kernels.
void check_batch_invariance(const Mixture& mixture, int64_t head_width) {
  CAPTURE(mixture.bidirectional, mixture.keys, mixture.gated, head_width);
  TransformerDescription of = describe(mixture, head_width);
  of.block_size = 320;
  const TransformerWeights weights = weights_of(of, mixture.head_norms);
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    Transformer model(moved(weights, dtype));
    for (const int64_t length : {1, 37, 128, 200, 256, 300}) {
      const at::Tensor tokens = some_tokens(200, length).cuda();
      const at::Tensor all = model.logits(tokens);
      for (const int64_t texts : {1, 2, 3, 8, 33, 64}) {
        CAPTURE(dtype, length, texts);
        CHECK(at::equal(model.logits(tokens.narrow(0, 5, texts)), all.narrow(0, 5, texts)));
      }
    }
  }
}

// The same of a text's next tokens.
void check_batch_invariance_of_decoding(const Mixture& mixture, int64_t head_width) {
  CAPTURE(mixture.keys, mixture.gated, head_width);
  const TransformerWeights weights = weights_of(describe(mixture, head_width), mixture.head_norms);
  const int64_t prompt = 5, total = 9;
  const at::Tensor tokens = some_tokens(200, total).cuda();
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    Transformer model(moved(weights, dtype));
    at::Tensor all;  // [steps, 200, V]
    for (const int64_t texts : {200, 1, 2, 8, 9, 17, 64, 65}) {
      CAPTURE(dtype, texts);
      const GrowingText text{tokens.narrow(0, 5 * (texts < 200), texts),
                             at::full({1}, prompt - 1, at::device(at::kCUDA).dtype(at::kLong))};
      const std::unique_ptr<DecodingSession> session = model.begin(text);
      session->restart(prompt);
      std::vector<at::Tensor> found;
      for (int64_t length = prompt; length < total; ++length) {
        found.push_back(session->next_logits().clone());
        text.position.add_(1);
        session->advance();
      }
      const at::Tensor own = at::stack(found);
      all = all.defined() ? all : own;
      CHECK(at::equal(own, texts < 200 ? all.narrow(1, 5, texts) : all));
    }
  }
}

const std::vector<Mixture> decoded = {
    {NormKind::layer, Activation::gelu_tanh, false, Mixture::Positions::absolute, 8, false, false, false},  // GPT-2's
    {NormKind::rms, Activation::silu, true, Mixture::Positions::scaled, 2, false, false, false},            // Llama's
    {NormKind::rms, Activation::silu, true, Mixture::Positions::rotary, 1, true, false, false},             // Qwen3's
};

}  // namespace

TEST_CASE("CUDA gives float64's logits for norms, activations, positions, heads and shifts, any three combined") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const Mixture& mixture : covering_mixtures()) {
    check_mixture(mixture, 16);
  }
}

TEST_CASE("CUDA gives float64's logits for head widths that its kernels take, and for those that they leave") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const Mixture& mixture : decoded) {
    for (const int64_t head_width : {8, 10, 24, 64, 80, 96, 128}) {
      check_mixture(mixture, head_width);
    }
  }
}

TEST_CASE("CUDA decodes token by token, few texts and many, to the logits of the whole text") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const Mixture& mixture : decoded) {
    for (const int64_t head_width : {16, 80, 128}) {
      for (const int64_t batch : {1, 3, 9}) {
        check_decoding(mixture, head_width, batch);
      }
    }
  }
}

TEST_CASE("Models whose tokens follow each other by a cache do the same work for each, so that it can be recorded") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const Mixture& mixture : decoded) {
    Transformer model(moved(weights_of(describe(mixture, 64), mixture.head_norms), at::kBFloat16));
    const GrowingText text{some_tokens(2, 20).cuda(), at::full({1}, 4, at::device(at::kCUDA).dtype(at::kLong))};
    const std::unique_ptr<DecodingSession> session = model.begin(text);
    session->restart(5);
    session->advance();
    CHECK(session->phase() == 0);
    session->restart(1);
    CHECK(session->phase() == 0);
  }
}

TEST_CASE("On CUDA a text's logits are the same bits in any batch") {
  if (cuda_device_count() == 0) {
    return;
  }
  Mixture both_ways = decoded.front();
  both_ways.bidirectional = true;
  check_batch_invariance(both_ways, 64);
  for (const Mixture& mixture : decoded) {
    check_batch_invariance(mixture, 64);
    check_batch_invariance_of_decoding(mixture, 64);
  }
}

TEST_CASE("A model that judges tokens gives float64's log probabilities at the positions that are asked for") {
  if (cuda_device_count() == 0 ||
      !kernels::cuda::has_judged_product_for(at::zeros({4096, 256}, at::TensorOptions(at::kHalf).device(at::kCUDA)))) {
    return;
  }
  Mixture mixture = decoded.front();
  for (const bool shifted : {false, true}) {
    CAPTURE(shifted);
    mixture.shifted = mixture.bidirectional = shifted;
    TransformerDescription of = describe(mixture, 16);
    of.width = 256;
    of.outputs = of.vocabulary_size = 4099;  // no multiple of eight
    of.tied_head = true;                     // has no bias
    const TransformerWeights weights = weights_of(of, mixture.head_norms);
    const at::Tensor tokens = some_tokens(3, 37);
    const at::Tensor positions = at::tensor({0, 1, 36, 5, 5, 20, 7, 0, 35}, at::kLong).view({3, 3});
    const at::Tensor ids = at::tensor({0, 4098, 17, 2000, 2001, 5, 4096, 4095, 1}, at::kLong).view({3, 3});
    const at::Tensor exact = at::log_softmax(Transformer(weights, {}, KernelChoice::libtorch).logits(tokens), -1)
                                 .gather(1, positions.unsqueeze(2).expand({-1, -1, 4099}))
                                 .gather(2, ids.unsqueeze(2))
                                 .squeeze(2);
    Transformer model(moved(weights, at::kBFloat16));
    REQUIRE(model.judges_tokens());
    const at::Tensor broken = at::zeros({}, at::TensorOptions(at::kBool).device(at::kCUDA));
    const at::Tensor found = model.log_probability_at(tokens.cuda(), positions.cuda(), ids.cuda(), broken);
    CHECK(relative_error(found, exact) < 6e-2);
    CHECK_FALSE(broken.item<bool>());
  }
}
