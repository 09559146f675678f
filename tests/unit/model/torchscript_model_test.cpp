#include "model/torchscript_model.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/runtime/print_handler.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

namespace demask {
namespace {

using Catch::Approx;

const std::string modules = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/modules/";
constexpr int64_t vocabulary = 5, width = 4, block = 8;

std::unique_ptr<LanguageModel> load(const std::string& name, LoadOptions options = {}) {
  return load_torchscript_model(modules + name + ".pt", options);
}

// The weights and the arithmetic of tests/fixtures/make_modules.py, once more.
int64_t weight(int64_t i, int64_t j, int64_t a, int64_t b) {
  return (a * i + b * j) % 7 - 3;
}

int64_t expected_logit(int64_t token, int64_t position, int64_t output) {
  int64_t sum = 0;
  for (int64_t c = 0; c < width; ++c) {
    sum += (weight(token, c, 3, 5) + weight(position, c, 2, 3)) * weight(c, output, 5, 2);
  }
  return sum;
}

at::Tensor tokens(int64_t length) {
  return at::arange(2 * length, at::kLong).view({2, length}).mul(3).remainder(vocabulary);
}

// The logits of the last `positions` positions, as they should be.
at::Tensor expected_logits(const at::Tensor& idx, int64_t positions) {
  const int64_t batch = idx.size(0), length = idx.size(1);
  at::Tensor expected = at::zeros({batch, positions, vocabulary});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t p = 0; p < positions; ++p) {
      const int64_t t = length - positions + p;
      for (int64_t v = 0; v < vocabulary; ++v) {
        expected[b][p][v] = expected_logit(idx[b][t].item<int64_t>(), t, v);
      }
    }
  }
  return expected;
}

std::string refusal(const std::string& path) {
  try {
    load_torchscript_model(path, {});
  } catch (const Error& error) {
    REQUIRE(error.code() == ExitCode::bad_input);
    REQUIRE(std::string(error.what()).find(path) == 0);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool has_notice(const LanguageModel& model, const std::string& part) {
  const auto& notices = model.info().notices;
  return std::any_of(notices.begin(), notices.end(), [&](const std::string& text) { return contains(text, part); });
}

std::vector<at::Device> devices() {
  std::vector<at::Device> present{at::kCPU};
  if (at::globalContext().hasCUDA()) {
    present.emplace_back("cuda:0");
  }
  return present;
}

void check_every_position(const std::string& name, const LoadOptions& options) {
  INFO(name << " on " << options.device.str() << (options.compile ? ", compiled" : ""));
  const auto model = load(name, options);
  CHECK(model->info().every_position);
  CHECK(model->info().output_size == vocabulary);
  for (const int64_t length : {int64_t{1}, int64_t{5}, block}) {
    const at::Tensor logits = model->logits(tokens(length).to(options.device));
    CHECK(logits.scalar_type() == at::kFloat);
    // The weights are small integers, so float32 is exact.
    CHECK(at::equal(logits.cpu(), expected_logits(tokens(length), length)));
  }
}

TEST_CASE("Every usable form of forward gives the logits of its weights at every position on every device") {
  for (const char* name : {"scripted", "traced", "traced_on_cuda", "optional_targets", "required_targets",
                           "nanogpt_inference", "integer_buffer", "counting", "printing", "with_extra_files",
                           "traced_fixed_batch", "mask_parameter", "draws_in_training"}) {
    for (const at::Device device : devices()) {
      for (const bool compile : {false, true}) {
        LoadOptions options;
        options.device = device;
        options.compile = compile;
        check_every_position(name, options);
      }
    }
  }
}

TEST_CASE("A module that only gives the last position says so and gives that one") {
  const auto model = load("last_only");
  CHECK_FALSE(model->info().every_position);
  CHECK(model->info().output_size == vocabulary);
  CHECK(at::equal(model->logits(tokens(6)), expected_logits(tokens(6), 1)));
}

TEST_CASE("A module traced with a fixed length runs at that length and says so at another") {
  const auto model = load("traced_fixed_length");
  CHECK(model->info().block_size == block);
  CHECK(at::equal(model->logits(tokens(block)), expected_logits(tokens(block), block)));
  const std::string message = testing::bad_input_message([&] { model->logits(tokens(block - 1)); });
  CHECK(contains(message, "runs with 8 tokens at a time, not with 7"));
  CHECK(contains(message, "torch.jit.script"));
}

TEST_CASE("A module traced with a fixed number of texts runs with any number, in parts, and says that it is slower") {
  const auto model = load("traced_fixed_batch");
  const at::Tensor five = at::arange(5 * block, at::kLong).view({5, block}).remainder(vocabulary);
  CHECK(at::equal(model->logits(five), expected_logits(five, block)));
  CHECK(has_notice(*model, "one text at a time"));
}

TEST_CASE("A module traced with a fixed shape runs where that is what will be asked for") {
  const std::string message = refusal(modules + "traced_fixed_shape.pt");
  CHECK(contains(message, "tried on tokens of shapes [2, 3], [1, 3]."));
  CHECK(contains(message, "torch.jit.script"));
  LoadOptions options;
  options.length = block;
  const auto model = load("traced_fixed_shape", options);
  CHECK(model->info().block_size == block);
  CHECK(at::equal(model->logits(tokens(block)), expected_logits(tokens(block), block)));
}

TEST_CASE("Dropout and statistics that code leaves in training mode are switched off, with a notice") {
  for (const std::string name : {"traced_in_training", "constant_dropouts"}) {
    CAPTURE(name);
    LoadOptions options;
    options.compile = GENERATE(false, true);
    const auto model = load(name, options);
    CHECK(has_notice(*model, "exported in training mode"));
    CHECK(has_notice(*model, "aten::dropout"));
    CHECK(at::equal(model->logits(tokens(block)), expected_logits(tokens(block), block)));
  }
}

TEST_CASE("A module that follows eval() needs no notice") {
  for (const char* name : {"scripted", "traced", "draws_in_training", "encoder", "traced_like_hugging_face"}) {
    CAPTURE(name);
    CHECK(load(name)->info().notices.empty());
  }
}

TEST_CASE("A module that runs as it is has no int8, one that runs natively has") {
  LoadOptions options;
  options.dtype = at::kChar;
  const std::string message = testing::message_of([&] { load("near_gpt_tanh", options); });
  CHECK(contains(message, "dtype='int8': "));
  CHECK(contains(message, "near_gpt_tanh.pt' is a TorchScript module that demask does not run natively"));
  CHECK(contains(message, "Use --dtype=float32."));
  const auto model = load("gpt_nanogpt", options);
  CHECK(model->info().dtype == demask::ElementType::int8);
  CHECK(contains(model->info().description, "run natively"));
}

TEST_CASE("A forward whose logits do not depend on the text alone is refused") {
  CHECK(contains(refusal(modules + "draws.pt"), "draws random numbers (aten::normal_)"));
  CHECK(contains(refusal(modules + "near_gpt_random.pt"), "draws random numbers (aten::rand)"));
  CHECK(contains(refusal(modules + "alternates.pt"), "other logits for the same tokens"));
  CHECK(contains(refusal(modules + "normalises_over_batch.pt"), "other logits alone than beside others"));
}

TEST_CASE("Each parameter of forward is given what its name says") {
  for (const std::string name : {"with_mask", "traced_with_mask", "with_truth_mask", "with_positions", "with_sigma",
                                 "with_timesteps", "with_time"}) {
    CAPTURE(name);
    const auto model = load(name);
    CHECK(at::equal(model->logits(tokens(block)), expected_logits(tokens(block), block)));
    CHECK(model->info().every_position);
  }
  CHECK(has_notice(*load("with_sigma"), "takes 'sigma', by its name a noise level or time"));
  CHECK(has_notice(*load("with_time"), "takes 't'"));
  CHECK(has_notice(*load("with_truth_mask"), "takes 'mask'"));
  CHECK(load("with_mask")->info().notices.empty());
}

TEST_CASE("A parameter that demask has nothing for is refused by name and type") {
  CHECK(contains(refusal(modules + "with_unknown.pt"), "forward needs 'memory: Tensor'"));
  CHECK(contains(refusal(modules + "with_padding_mask.pt"), "forward needs 'padding_mask: Tensor'"));
  CHECK(contains(refusal(modules + "with_flag.pt"), "forward needs 'return_dict: bool'"));
}

TEST_CASE("Only what is named for targets is given targets") {
  CHECK_FALSE(load("mask_or_last")->info().every_position);
}

TEST_CASE("Whether a module is causal is found by running it, whatever its file says") {
  const auto load_as_it_is = [](const std::string& name) {
    LoadOptions options;
    options.native = false;
    return load(name, options);
  };
  CHECK(load_as_it_is("gpt_nanogpt")->info().causal);
  CHECK_FALSE(load_as_it_is("gpt_nanogpt")->info().bidirectional);
  CHECK(load_as_it_is("gpt_bidirectional")->info().bidirectional);
  CHECK_FALSE(load_as_it_is("gpt_bidirectional")->info().causal);
  CHECK(load("traced_like_hugging_face")->info().causal);
  CHECK(load("encoder")->info().bidirectional);
  CHECK(load("with_extra_files")->info().causal);  // its code looks at one token, its file says bidirectional
  const auto last_only = load("last_only");
  CHECK_FALSE(last_only->info().causal);
  CHECK_FALSE(last_only->info().bidirectional);
}

TEST_CASE("A weight that is not finite is named, and a mask of -inf is none") {
  CHECK(contains(refusal(modules + "damaged_weight.pt"),
                 "the weight 'head' holds 1 numbers that are NaN or infinite, of 20, the first at [1, 2]"));
}

TEST_CASE("What a module prints is left out, with a notice") {
  const auto model = load("printing");
  CHECK(has_notice(*model, "prints"));
  static bool printed = false;
  torch::jit::setPrintHandler([](const std::string&) { printed = true; });
  model->logits(tokens(3));
  CHECK_FALSE(printed);
}

TEST_CASE("Half-width weights give logits near those of float32 and leave integer buffers alone") {
  LoadOptions options;
  options.dtype = at::kBFloat16;
  const at::Tensor logits = load("integer_buffer", options)->logits(tokens(block));
  CHECK(logits.scalar_type() == at::kBFloat16);
  CHECK(at::allclose(logits.to(at::kFloat), expected_logits(tokens(block), block), 0.01, 0.0));
}

TEST_CASE("Extra files fill the model's description, and absent ones leave it open") {
  const auto with = load("with_extra_files");
  CHECK(with->info().block_size == block);
  CHECK(with->info().dataset == std::string("fixture"));
  CHECK(with->info().description == "TorchScript, 1 layers, 1 heads, 4 wide, absolute, bidirectional");
  const auto without = load("scripted");
  CHECK(without->info().block_size == 0);
  CHECK_FALSE(without->info().dataset.has_value());
}

TEST_CASE("Non-finite logits are handed on for the sampler to judge") {
  CHECK(load("not_a_number")->logits(tokens(3)).isnan().all().item<bool>());
}

TEST_CASE("A module without a usable forward is refused with what forward should be") {
  CHECK(contains(refusal(modules + "returns_dict.pt"), "returned a Dict(str, Tensor); forward must take (idx)"));
  CHECK(contains(refusal(modules + "returns_tokens.pt"), "returned Long of shape [2, 3] for idx of shape [2, 3]"));
  CHECK(contains(refusal(modules + "no_parameter.pt"), "forward takes (); forward must take (idx)"));
  CHECK(contains(refusal(modules + "without_forward.pt"), "has no forward"));
}

TEST_CASE("Code that reaches outside the module is refused by name and never runs") {
  unlink("demask_was_here");
  CHECK(contains(refusal(modules + "saves.pt"), "aten::save"));
  CHECK(contains(refusal(modules + "saves_elsewhere.pt"), "aten::save"));
  CHECK(contains(refusal(modules + "reads_file.pt"), "aten::from_file"));
  CHECK(contains(refusal(modules + "custom_operator.pt"), "quantized::add_scalar"));
  CHECK(contains(refusal(modules + "runs_on_load.pt"), "__setstate__"));
  CHECK(contains(refusal(modules + "seeds.pt"), "aten::manual_seed"));
  CHECK(contains(refusal(modules + "strided.pt"), "aten::as_strided"));
  CHECK(contains(refusal(modules + "forks.pt"), "prim::fork"));
  CHECK(access("demask_was_here", F_OK) != 0);
}

TEST_CASE("Malformed or contradictory extra files are refused") {
  CHECK(contains(refusal(modules + "malformed_model_args.pt"), "model_args.json is not a JSON object"));
  CHECK(contains(refusal(modules + "wrong_block_size.pt"), "block_size = \"many\""));
  CHECK(contains(refusal(modules + "falsely_binary.pt"), "has 5 outputs"));
}

TEST_CASE("Files that are no TorchScript archive are refused by name") {
  const std::string root = DEMASK_SOURCE_DIR;
  CHECK(contains(refusal(root + "/no_such_file.pt"), "cannot be loaded as TorchScript"));
  CHECK(contains(refusal(root + "/LICENSE"), "cannot be loaded as TorchScript"));
  CHECK(contains(refusal(root + "/out/diffusion.pt"), "constants.pkl"));
}

TEST_CASE("An archive cut short at any point is refused by name") {
  const std::string whole = testing::read_file(modules + "scripted.pt");
  const testing::TemporaryFolder folder;
  const std::string path = folder / "truncated.pt";
  for (size_t size = 0; size < whole.size(); size += 97) {
    INFO(size);
    testing::write_file(path, whole.substr(0, size));
    CHECK(refusal(path) != "");
  }
}

// tests/golden/infill.json holds what the original sampler made of out/diffusion.pt.
TEST_CASE(
    "The exported diffusion checkpoint, run natively or as it is, fills the golden templates with the original's "
    "text") {
  constexpr int64_t mask = 65;
  std::string characters = "\n !$&',-.3:;?";
  for (char c = 'A'; c <= 'Z'; ++c) {
    characters += c;
  }
  for (char c = 'a'; c <= 'z'; ++c) {
    characters += c;
  }
  REQUIRE(characters.size() == static_cast<size_t>(mask));

  const std::string root = DEMASK_SOURCE_DIR;
  LoadOptions options;
  options.native = GENERATE(true, false);
  CAPTURE(options.native);
  const auto model = load_torchscript_model(DEMASK_EXPORTED_DIFFUSION, options);
  CHECK(model->info().output_size == mask + 1);
  CHECK(model->info().block_size == 512);
  CHECK(model->info().dataset == std::string("char_diffusion"));
  int checked = 0;
  for (const auto& golden : nlohmann::json::parse(testing::read_file(root + "/tests/golden/infill.json"))) {
    if (golden["checkpoint"] != "diffusion_small.pt" || golden["diffusion_iterations"] != 1) {
      continue;
    }
    const std::string text = golden["infill_text"], expected = golden["expected"];
    std::vector<int64_t> ids;
    for (const char c : text) {
      ids.push_back(c == '#' ? mask : static_cast<int64_t>(characters.find(c)));
    }
    const at::Tensor idx = at::tensor(ids, at::kLong).unsqueeze(0);
    const at::Tensor filled = at::where(idx == mask, model->logits(idx).narrow(-1, 0, mask).argmax(-1), idx);
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto id = filled[0][static_cast<int64_t>(i)].item<int64_t>();
      REQUIRE(characters[static_cast<size_t>(id)] == expected[i]);
    }
    const at::Tensor confidence = model->logits(filled).log_softmax(-1).gather(-1, filled.unsqueeze(-1)).mean();
    CHECK(confidence.item<double>() == Approx(golden["self_confidence"].get<double>()).margin(1e-4));
    ++checked;
  }
  CHECK(checked == 2);
}

}  // namespace
}  // namespace demask
