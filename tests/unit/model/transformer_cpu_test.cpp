// demask's own CPU kernels against the plain path in float64, for every mixture that a description allows.
#include "model/transformer_cpu.h"

#include <ATen/ATen.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "model/transformer.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "tests/unit/model/random_transformer.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;

namespace {

std::vector<at::ScalarType> dtypes_here() {
  std::vector<at::ScalarType> dtypes;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
    if (kernels::cpu::find(dtype) != nullptr) {
      dtypes.push_back(dtype);
    }
  }
  return dtypes;
}

at::Tensor some_tokens(int64_t batch, int64_t length, int64_t ids) {
  return at::arange(batch * length, at::kLong).mul(7919).remainder(ids).view({batch, length});
}

double relative_error(const at::Tensor& value, const at::Tensor& reference) {
  const at::Tensor exact = reference.to(at::kDouble);
  return ((value.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

// In int8 the reference has the same weights; what is left are activations, rounded to steps of a 127th of the largest.
// A row of 24 to 96 has its largest at some 2.5 standard deviations, so a step is 0.02 of one, and its rounding 0.006;
// the nine products from the embedding to the logits add up to three times as much, 0.018. Norms of queries and softmax
// between them may treble that.
double tolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-5 : dtype == at::kChar ? 5.5e-2 : 3e-2;
}

Transformer own_model(const NamedDescription& named, at::ScalarType dtype) {
  return dtype == at::kChar ? Transformer(random_weights(named, at::kFloat), {}, KernelChoice::int8)
                            : Transformer(random_weights(named, dtype));
}

TransformerWeights exact_weights(const NamedDescription& named, at::ScalarType dtype) {
  TransformerWeights weights = random_weights(named, at::kDouble);
  if (dtype != at::kChar) {
    return weights;
  }
  const auto round = [](at::Tensor& weight) {
    const at::Tensor step = weight.abs().amax({1}, true) / 127;
    weight = at::round(weight / step) * step;
  };
  for (LayerWeights& layer : weights.layers) {
    for (LinearWeights* linear :
         {&layer.query_key_value, &layer.attention_projection, &layer.expand, &layer.contract}) {
      round(linear->weight);
    }
  }
  round(weights.head.weight);
  if (named.description.tied_head) {
    weights.token_embedding = weights.head.weight;
  }
  return weights;
}

struct Pair {
  Transformer own, reference;

  Pair(const NamedDescription& named, at::ScalarType dtype)
      : own(own_model(named, dtype)), reference(exact_weights(named, dtype)) {
    REQUIRE(own.has_cpu_kernels());
    REQUIRE_FALSE(reference.has_cpu_kernels());
  }
};

// Logits [B, steps, V] of a session that reads `given` tokens and goes on with the rest.
at::Tensor decode(Transformer& model, const at::Tensor& tokens, int64_t given, const Beginnings& beginnings) {
  const GrowingText text{tokens, at::full({1}, given - 1, at::kLong)};
  const std::unique_ptr<DecodingSession> session = model.begin(text);
  session->restart(beginnings, [](const Slice& /*slice*/, const at::Tensor& /*logits*/) {});
  std::vector<at::Tensor> steps;
  for (int64_t length = given; length <= tokens.size(1); ++length) {
    text.position.fill_(length - 1);
    steps.push_back(session->next_logits().clone());
    session->advance();
  }
  return at::stack(steps, 1);
}

}  // namespace

TEST_CASE("The CPU kernels compute every mixture of the description, as float64 does") {
  for (const at::ScalarType dtype : dtypes_here()) {
    for (const NamedDescription& named : mixtures()) {
      Pair models(named, dtype);
      for (const int64_t length : {1, 2, 50}) {
        CAPTURE(named.name, dtype, length);
        const at::Tensor tokens = some_tokens(3, length, named.description.vocabulary_size);
        const at::Tensor logits = models.own.logits(tokens);
        CHECK(logits.sizes() == at::IntArrayRef({3, length, named.description.outputs}));
        CHECK(relative_error(logits, models.reference.logits(tokens)) < tolerance(dtype));
      }
    }
  }
}

TEST_CASE("Chosen positions have the bits of all, and a text's bits do not depend on its batch, in every mixture") {
  for (const at::ScalarType dtype : dtypes_here()) {
    for (const NamedDescription& named : mixtures()) {
      CAPTURE(named.name, dtype);
      Transformer model = own_model(named, dtype);
      const at::Tensor tokens = some_tokens(4, 40, named.description.vocabulary_size);
      const at::Tensor all = model.logits(tokens);
      const at::Tensor positions = some_tokens(4, 9, 40);
      CHECK(at::equal(model.logits_at(tokens, positions),
                      all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}))));
      for (int64_t text = 0; text < 4; ++text) {
        CHECK(at::equal(model.logits(tokens.narrow(0, text, 1))[0], all[text]));
      }
      const at::Tensor alike = tokens.narrow(0, 0, 1).expand({4, 40});
      CHECK(at::equal(model.logits(alike), all.narrow(0, 0, 1).expand_as(all)));
    }
  }
}

TEST_CASE("Decoding with prompts gives what float64 gives for the whole text, past the block size too") {
  for (const at::ScalarType dtype : dtypes_here()) {
    for (const NamedDescription& named : mixtures()) {
      if (named.description.bidirectional) {
        continue;
      }
      CAPTURE(named.name, dtype);
      Pair models(named, dtype);
      const int64_t block = named.description.block_size, given = block - 5, ids = named.description.vocabulary_size;
      const at::Tensor place = at::tensor({0, 1, 0}, at::kLong), different = at::tensor({0, 1}, at::kLong);
      at::Tensor tokens = some_tokens(3, block + 3, ids);
      tokens.narrow(1, 0, given).copy_(some_tokens(2, given, ids).index_select(0, place));
      const at::Tensor own = decode(models.own, tokens, given, {given, different, place});
      CHECK(relative_error(own, decode(models.reference, tokens, given, {given, {}, {}})) < tolerance(dtype));
      CHECK(at::equal(own, decode(models.own, tokens, given, {given, {}, {}})));
    }
  }
}

TEST_CASE("A model whose weights are used as they are stored gives the bits of one with panels") {
  const std::string path = std::string(DEMASK_SOURCE_DIR) + "/out/";
  for (const at::ScalarType dtype : dtypes_here()) {
    for (const char* const name : {"diffusion.pt", "standard.pt"}) {
      CAPTURE(name, dtype);
      const auto load = [&](int64_t forwards) {
        return Transformer(*open_nanogpt(path + name, options_of_weights(dtype, at::kCPU)), {}, kernels_for(dtype),
                           forwards);
      };
      Transformer panels = load(many_forwards), stored = load(1);
      const at::Tensor tokens = some_tokens(2, 40, 60), positions = some_tokens(2, 9, 40);
      CHECK(at::equal(stored.logits(tokens), panels.logits(tokens)));
      CHECK(at::equal(stored.logits_at(tokens, positions), panels.logits_at(tokens, positions)));
    }
  }
}

TEST_CASE("A file whose weights are used as they are stored must not be written to meanwhile") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  std::filesystem::copy_file(std::string(DEMASK_SOURCE_DIR) + "/out/diffusion.pt", path);
  Transformer stored(*open_nanogpt(path, at::TensorOptions(at::kFloat)), {}, KernelChoice::own, /*forwards=*/1);
  const at::Tensor tokens = some_tokens(1, 8, 60);
  CHECK_NOTHROW(stored.logits(tokens));
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  CHECK_THAT(bad_input_message([&] { stored.logits(tokens); }),
             ContainsSubstring("'" + path + "' was written to while it was in use"));
}
