#include "model/recognise_gpt.h"

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/device.h"
#include "model/torchscript_model.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

const std::string root = std::string(DEMASK_SOURCE_DIR) + "/";
const std::string natively = "TorchScript, run natively: ";

// Of tests/fixtures/make_modules.py.
constexpr int64_t vocabulary = 12, block = 16;

std::string fixture(const std::string& name) {
  return root + "tests/fixtures/modules/" + name + ".pt";
}

const std::vector<std::string> gpts = {"gpt_nanogpt",  "gpt_bidirectional", "gpt_wrong_heads",
                                       "gpt_prefixed", "gpt_last_only",     "gpt_two_class"};
const std::vector<std::string> other_architectures = {"near_gpt_tanh",          "near_gpt_epsilon",   "near_gpt_base",
                                                      "near_gpt_interleaved",   "near_gpt_unscaled",  "near_gpt_window",
                                                      "near_gpt_special_token", "near_gpt_long_texts"};

std::unique_ptr<LanguageModel> load(const std::string& path, bool native, at::Device device = at::kCPU,
                                    at::ScalarType dtype = at::kFloat) {
  LoadOptions options;
  options.device = device;
  options.dtype = dtype;
  options.native = native;
  return load_torchscript_model(path, options);
}

std::vector<at::Device> devices() {
  std::vector<at::Device> present{at::kCPU};
  if (cuda_device_count() > 0) {
    present.emplace_back("cuda:0");
  }
  return present;
}

// Not the ids that recognition compares with.
at::Tensor some_tokens(int64_t length, int64_t ids) {
  return at::arange(3 * length, at::kLong).mul(7919).remainder(ids).view({3, length});
}

bool is_native(const LanguageModel& model) {
  return model.info().description.rfind(natively, 0) == 0;
}

// The last of `logits`, as many as the reference has: a module may give the last position only.
at::Tensor last_positions(const at::Tensor& logits, const at::Tensor& reference) {
  return logits.narrow(1, logits.size(1) - reference.size(1), reference.size(1));
}

void check_same_logits(const std::string& path, at::Device device, int64_t ids) {
  CAPTURE(path, device.str());
  const auto native = load(path, true, device), as_it_is = load(path, false, device);
  CHECK(is_native(*native));
  CHECK_FALSE(is_native(*as_it_is));
  CHECK(native->info().every_position);
  CHECK(native->info().output_size == as_it_is->info().output_size);
  CHECK(native->info().block_size == as_it_is->info().block_size);
  CHECK(native->info().dataset == as_it_is->info().dataset);
  CHECK(native->info().binary_classification == as_it_is->info().binary_classification);
  for (const int64_t length : {int64_t{1}, int64_t{7}, native->info().block_size}) {
    CAPTURE(length);
    const at::Tensor tokens = some_tokens(length, ids).to(device);
    const at::Tensor reference = as_it_is->logits(tokens), logits = native->logits(tokens);
    CHECK(logits.size(1) == length);
    CHECK(logits_disagreement(last_positions(logits, reference), reference) < gpt_tolerance);
  }
}

std::map<std::string, at::Tensor> parameters_of(const ModelArgs& args, const std::string& prefix = "") {
  std::map<std::string, at::Tensor> parameters;
  for (const auto& [name, shape] : expected_parameters(args)) {
    parameters.emplace(prefix + name, at::zeros(shape));
  }
  return parameters;
}

ModelArgs small_args() {
  ModelArgs args;
  args.n_layer = 2;
  args.n_embd = 16;
  args.block_size = block;
  args.vocab_size = vocabulary;
  return args;
}

ModelInfo with_block_size(int64_t block_size) {
  ModelInfo info;
  info.block_size = block_size;
  return info;
}

}  // namespace

TEST_CASE("A module that is a GPT runs natively, with the logits that it gives as it is") {
  for (const at::Device device : devices()) {
    for (const std::string& name : gpts) {
      check_same_logits(fixture(name), device, vocabulary);
    }
    check_same_logits(DEMASK_EXPORTED_DIFFUSION, device, 66);
  }
}

TEST_CASE("What names and shapes leave open is found by comparison, whatever the module's extra files say") {
  const auto nanogpt = load(fixture("gpt_nanogpt"), true);
  CHECK(nanogpt->info().description == natively + "2 layers, 2 heads, 16 wide, absolute positions, causal");
  CHECK(nanogpt->info().causal);
  CHECK(nanogpt->info().input_size == vocabulary);
  CHECK(load(fixture("gpt_wrong_heads"), true)->info().description ==
        natively + "1 layers, 2 heads, 16 wide, rotary positions, bidirectional");
}

TEST_CASE("A GPT that gives the last position only gives every one when run natively") {
  CHECK_FALSE(load(fixture("gpt_last_only"), false)->info().every_position);
  CHECK(load(fixture("gpt_last_only"), true)->info().every_position);
}

TEST_CASE("A module with a GPT's weights and other code runs as it is") {
  std::vector<std::string> others = other_architectures;
  others.insert(others.end(), {"near_gpt_counting", "near_gpt_counting_in_buffer", "near_gpt_unknown_block",
                               "near_gpt_overstated_block"});
  for (const at::Device device : devices()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (const std::string& name : others) {
        CAPTURE(name, device.str(), toString(dtype));
        const auto model = load(fixture(name), true, device, dtype);
        CHECK_FALSE(is_native(*model));
        const at::Tensor tokens = some_tokens(block, vocabulary).to(device);
        CHECK(at::equal(model->logits(tokens), load(fixture(name), false, device, dtype)->logits(tokens)));
      }
    }
  }
}

TEST_CASE("Other architectures are at least three times further off than the tolerance, and rounding ten times less") {
  // All have the same weights.
  const at::Tensor tokens = some_tokens(block, vocabulary);
  const at::Tensor logits = load(fixture("gpt_bidirectional"), true)->logits(tokens);
  CHECK(logits_disagreement(logits, load(fixture("gpt_bidirectional"), false)->logits(tokens)) < gpt_tolerance / 10);
  for (const std::string& name : other_architectures) {
    CAPTURE(name);
    CHECK(logits_disagreement(logits, load(fixture(name), false)->logits(tokens)) > gpt_tolerance * 3);
  }
}

TEST_CASE("A recognised module computes in the precision that was asked for") {
  for (const at::Device device : devices()) {
    const at::Tensor tokens = some_tokens(20, 66).to(device);
    const auto model = load(DEMASK_EXPORTED_DIFFUSION, true, device, at::kBFloat16);
    CHECK(is_native(*model));
    const at::Tensor logits = model->logits(tokens);
    const at::Tensor exact = load(DEMASK_EXPORTED_DIFFUSION, false, device)->logits(tokens);
    // float32 would be within 1e-5: bfloat16 keeps 8 bits.
    const double error = ((logits.to(at::kFloat) - exact).norm() / exact.norm()).item<double>();
    CHECK(error > 1e-4);
    CHECK(error < 5e-2);
  }
}

TEST_CASE("Recognition leaves the global random numbers alone") {
  at::manual_seed(3);
  const at::Tensor undisturbed = at::rand({4});
  at::manual_seed(3);
  load(fixture("gpt_bidirectional"), true);
  CHECK(at::equal(at::rand({4}), undisturbed));
}

TEST_CASE("Parameters that are a GPT's propose its architecture") {
  ModelArgs args = small_args();
  args.bias = true;
  args.tied_head = true;
  const auto proposed = propose_gpt(parameters_of(args, "_orig_mod."), with_block_size(block));
  REQUIRE(proposed);
  CHECK(proposed->args.n_layer == 2);
  CHECK(proposed->args.n_embd == 16);
  CHECK(proposed->args.vocab_size == vocabulary);
  CHECK(proposed->args.block_size == block);
  CHECK(proposed->args.bias);
  CHECK(proposed->args.tied_head);
  CHECK_FALSE(proposed->args.rotary);
  CHECK(proposed->parameters.count("transformer.wte.weight") == 1);
}

TEST_CASE("Parameters that are not exactly a GPT's propose nothing") {
  using Parameters = std::map<std::string, at::Tensor>;
  const std::map<std::string, std::function<void(Parameters&)>> changes = {
      {"one more", [](Parameters& p) { p.emplace("transformer.h.0.gate.weight", at::zeros({16})); }},
      {"one outside the prefix", [](Parameters& p) { p.emplace("gate", at::zeros({16})); }},
      {"one missing", [](Parameters& p) { p.erase("model.transformer.h.1.mlp.c_fc.weight"); }},
      {"another width",
       [](Parameters& p) {
         p["model.transformer.h.1.mlp.c_fc.weight"] = at::zeros({48, 16});
       }},
      {"integers",
       [](Parameters& p) {
         p["model.lm_head.weight"] = at::zeros({vocabulary, 16}, at::kLong);
       }},
      {"no token embedding", [](Parameters& p) { p.erase("model.transformer.wte.weight"); }},
      {"nothing", [](Parameters& p) { p.clear(); }},
  };
  const Parameters whole = parameters_of(small_args(), "model.");
  REQUIRE(propose_gpt(whole, with_block_size(block)));
  for (const auto& [name, change] : changes) {
    CAPTURE(name);
    Parameters changed = whole;
    change(changed);
    CHECK_FALSE(propose_gpt(changed, with_block_size(block)));
  }
  CHECK_FALSE(propose_gpt(whole, with_block_size(block - 1)));
  CHECK_FALSE(propose_gpt(whole, with_block_size(0)));
}
