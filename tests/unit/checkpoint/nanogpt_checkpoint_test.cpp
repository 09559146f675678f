#include "checkpoint/nanogpt_checkpoint.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "tests/unit/checkpoint/small_checkpoints.h"

using Catch::Matchers::ContainsSubstring;
using demask::NanoGptCheckpoint;
using demask::read_nanogpt_checkpoint;
using namespace demask::testing;
using namespace demask::testing::pickled;

namespace {

const std::string repository = DEMASK_SOURCE_DIR;
const std::string training_fixtures = repository + "/tests/fixtures/checkpoints/";

// Shapes, sums and last elements are those that PyTorch printed when it wrote the file.
void check_against(const std::string& expected_path, const NanoGptCheckpoint& checkpoint) {
  const auto expected = nlohmann::json::parse(read_file(expected_path));
  for (const auto& [name, tensor] : checkpoint.parameters) {
    CAPTURE(name);
    REQUIRE(expected.contains(name));
    CHECK(tensor.sizes().vec() == expected[name]["shape"].get<std::vector<int64_t>>());
    CHECK(tensor.to(at::kDouble).sum().item<double>() ==
          Catch::Approx(expected[name]["sum"].get<double>()).margin(1e-9));
    CHECK(tensor.flatten()[-1].item<double>() == expected[name]["last"].get<double>());
  }
}

}  // namespace

TEST_CASE("a checkpoint as nanoGPT trains it is read: compiled, AdamW state, tied head, mask buffers") {
  const std::string writer = GENERATE("training_float32.pt", "training_float32_torch2.pt");  // PyTorch 1.13 and 2.11
  CAPTURE(writer);
  const NanoGptCheckpoint checkpoint = read_nanogpt_checkpoint(training_fixtures + writer);
  CHECK(checkpoint.args.n_layer == 2);
  CHECK(checkpoint.args.n_head == 2);
  CHECK(checkpoint.args.n_embd == 16);
  CHECK(checkpoint.args.block_size == 24);
  CHECK(checkpoint.args.vocab_size == 20);
  CHECK(checkpoint.args.bias);
  CHECK_FALSE(checkpoint.args.bidirectional);
  CHECK_FALSE(checkpoint.args.rotary);
  CHECK(checkpoint.args.tied_head);
  CHECK(checkpoint.dataset == "shakespeare_char");
  CHECK(checkpoint.parameters.size() == 2 + 2 * 12 + 2);  // embeddings, two blocks, final norm
  CHECK(checkpoint.parameters.at("transformer.h.1.attn.c_attn.bias").scalar_type() == at::kFloat);
  check_against(training_fixtures + "training_float32.json", checkpoint);
}

TEST_CASE("bfloat16 Parameters and views of one larger storage are read, and config may be missing") {
  const NanoGptCheckpoint checkpoint = read_nanogpt_checkpoint(training_fixtures + "parameters_bfloat16.pt");
  CHECK(checkpoint.args.rotary);
  CHECK(checkpoint.args.bidirectional);
  CHECK_FALSE(checkpoint.args.tied_head);
  CHECK_FALSE(checkpoint.dataset);
  CHECK(checkpoint.parameters.size() == 9);
  CHECK(checkpoint.parameters.at("lm_head.weight").scalar_type() == at::kBFloat16);
  check_against(training_fixtures + "parameters_bfloat16.json", checkpoint);
}

TEST_CASE("the repository's checkpoints, written by PyTorch 2, are read") {
  const NanoGptCheckpoint remasking = read_nanogpt_checkpoint(repository + "/out/remasking.pt");
  CHECK(remasking.args.binary_classification);
  CHECK(remasking.args.output_size() == 2);
  CHECK(remasking.dataset == "char_diffusion");
  CHECK(remasking.parameters.at("lm_head.weight").sizes() == at::IntArrayRef({2, 256}));
  const NanoGptCheckpoint standard = read_nanogpt_checkpoint(repository + "/out/standard.pt");
  CHECK(standard.parameters.at("transformer.wpe.weight").sizes() == at::IntArrayRef({512, 256}));
  CHECK(standard.parameters.size() == expected_parameters(standard.args).size());
}

TEST_CASE("the values and dtypes of a checkpoint are kept as they are") {
  const at::ScalarType dtype = GENERATE(at::kFloat, at::kHalf, at::kBFloat16, at::kDouble);
  const NanoGptCheckpoint checkpoint = read(tiny_checkpoint(dtype));
  CHECK(checkpoint.parameters.at("transformer.wpe.weight").equal(at::arange(20).to(dtype).reshape({5, 4})));
}

TEST_CASE("each tensor passes through the conversion as it is read") {
  const TemporaryFolder folder;
  tiny_checkpoint(at::kHalf).write(folder / "x.pt");
  const auto checkpoint =
      read_nanogpt_checkpoint(folder / "x.pt", [](at::Tensor tensor) { return tensor.to(at::kFloat) + 1; });
  CHECK(checkpoint.parameters.at("lm_head.weight").equal(at::arange(1, 13, at::kFloat).reshape({3, 4})));
}

TEST_CASE("a head that is absent is tied to the embedding; one of its own is not") {
  CheckpointFile file = tiny_checkpoint();
  CHECK_FALSE(read(file).args.tied_head);
  set_entry(file.model, "lm_head.weight", "");
  const NanoGptCheckpoint checkpoint = read(file);
  CHECK(checkpoint.args.tied_head);
  CHECK(checkpoint.parameters.count("lm_head.weight") == 0);
}

TEST_CASE("a classifier needs a two-class head of its own") {
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model_args, "binary_classification", boolean(true));
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("Misshapen: lm_head.weight is [3, 4], expected [2, 4]"));
  set_entry(file.model, "lm_head.weight", "");
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("Missing: lm_head.weight"));
  file.add_tensor("lm_head.weight", at::ones({2, 4}));
  CHECK(read(file).args.output_size() == 2);
}

TEST_CASE("missing, unexpected and misshapen tensors are all listed, long lists shortened") {
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model, "transformer.ln_f.weight", "");
  set_entry(file.model, "lm_head.weight", "");
  file.add_tensor("lm_head.weight", at::ones({4, 4}));
  file.add_tensor("transformer.extra.weight", at::ones({1}));
  const std::string message = refusal_to_read(file);
  CHECK_THAT(message, ContainsSubstring("Missing: transformer.ln_f.weight."));
  CHECK_THAT(message, ContainsSubstring("Unexpected: 'transformer.extra.weight'."));
  CHECK_THAT(message, ContainsSubstring("Misshapen: lm_head.weight is [4, 4], expected [3, 4]."));

  set_entry(file.model_args, "n_layer", integer(3));
  CHECK_THAT(refusal_to_read(file),
             ContainsSubstring("and 5 more"));  // two blocks of 6 tensors and ln_f, less the 8 that are shown
}

TEST_CASE("attn.bias is the mask and ignored, while attn.c_attn.bias is a parameter") {
  CheckpointFile file = tiny_checkpoint();
  file.model.emplace_back("transformer.h.0.attn.bias", none());
  CHECK(read(file).parameters.size() == 10);
  file.add_tensor("transformer.h.0.attn.c_attn.bias", at::ones({12}));
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("Unexpected: 'transformer.h.0.attn.c_attn.bias'"));
}

TEST_CASE("prefixes of wrappers that all names share are stripped, in any mix") {
  const std::string prefix = GENERATE("module.", "_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.",
                                      "model._orig_mod.", "module.module.model.");
  CheckpointFile file = tiny_checkpoint();
  file.model.emplace_back("transformer.h.0.attn.bias", none());
  for (auto& entry : file.model) {
    entry.first = prefix + entry.first;
  }
  file.model.emplace_back("n_averaged", none());  // beside the model, as torch.optim.swa_utils keeps it
  CHECK(read(file).parameters.count("transformer.h.0.attn.c_attn.weight") == 1);
  CHECK(read(file).parameters.size() == 10);
}

TEST_CASE("a prefix that not all names share is part of the names") {
  CheckpointFile file = tiny_checkpoint();
  file.add_tensor("_orig_mod.lm_head.weight", at::ones({3, 4}));
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("Unexpected: '_orig_mod.lm_head.weight'"));
}

TEST_CASE("a weight that is not finite is named, with the first place") {
  for (const double wrong : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    CheckpointFile file = tiny_checkpoint();
    set_entry(file.model, "lm_head.weight", "");
    at::Tensor head = at::ones({3, 4});
    head[1][2] = wrong;
    head[2][0] = wrong;
    file.add_tensor("lm_head.weight", head);
    CHECK_THAT(refusal_to_read(file),
               ContainsSubstring("the weight 'lm_head.weight' holds 2 numbers that are NaN or infinite, "
                                 "of 12, the first at [1, 2]"));
  }
}

TEST_CASE("rows of a weight are those of all of it, and one that is not finite is named by its place in all of it") {
  const TemporaryFolder folder;
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model, "lm_head.weight", "");
  at::Tensor head = at::arange(12, at::kFloat).view({3, 4});
  for (const bool transposed : {false, true}) {  // rows lie together, or not
    file.add_tensor("lm_head.weight", transposed ? head.t().contiguous().t() : head);
    file.write(folder / "x.pt");
    const demask::NanoGptFile whole(folder / "x.pt");
    const auto doubled = [](const at::Tensor& tensor) { return tensor.mul(2); };
    CHECK(at::equal(whole.look_at_rows("lm_head.weight", 1, 2, doubled), head.narrow(0, 1, 2).mul(2)));
    CHECK(at::equal(whole.look_at_rows("lm_head.weight", 0, 1, {}), head.narrow(0, 0, 1)));
    set_entry(file.model, "lm_head.weight", "");
  }
  head[2][3] = std::nan("");
  file.add_tensor("lm_head.weight", head);
  file.write(folder / "x.pt");
  const demask::NanoGptFile damaged(folder / "x.pt");
  CHECK(at::equal(damaged.look_at_rows("lm_head.weight", 0, 2, {}), head.narrow(0, 0, 2)));
  CHECK_THAT(bad_input_message([&] { damaged.look_at_rows("lm_head.weight", 2, 1, {}); }),
             ContainsSubstring("of 12, the first at [2, 3]"));
}

TEST_CASE("a weight too large for the dtype that is asked for is named, and one whose sum is too large is not") {
  const TemporaryFolder folder;
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model, "lm_head.weight", "");
  file.add_tensor("lm_head.weight", at::full({3, 4}, 60000.0));  // float16 ends at 65504
  file.write(folder / "fits.pt");
  const auto to_half = [](const at::Tensor& tensor) { return tensor.to(at::kHalf); };
  CHECK(read_nanogpt_checkpoint(folder / "fits.pt", to_half).parameters.size() == 10);
  set_entry(file.model, "lm_head.weight", "");
  file.add_tensor("lm_head.weight", at::full({3, 4}, 1e38));
  file.write(folder / "large.pt");
  CHECK(read_nanogpt_checkpoint(folder / "large.pt").parameters.size() == 10);
  CHECK_THAT(bad_input_message([&] { read_nanogpt_checkpoint(folder / "large.pt", to_half); }),
             ContainsSubstring("'lm_head.weight' holds 12 numbers that are infinite in Half") &&
                 ContainsSubstring("--dtype=float32"));
}

TEST_CASE("integer weights are refused") {
  CHECK_THAT(refusal_to_read(tiny_checkpoint(at::kLong)),
             ContainsSubstring("'torch.LongStorage'; expected float32, float16, bfloat16 or float64"));
}

TEST_CASE("a storage past its end and a storage that is not there are refused") {
  CheckpointFile file = tiny_checkpoint();
  PickledTensor norm;
  norm.key = "2";
  norm.storage_numel = 4;
  norm.offset = 1;
  norm.sizes = {4};
  norm.strides = {1};
  set_entry(file.model, "transformer.h.0.ln_1.weight", norm.opcodes());
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("'transformer.h.0.ln_1.weight' reaches past the end"));
  norm.key = "nowhere";
  set_entry(file.model, "transformer.h.0.ln_1.weight", norm.opcodes());
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("storage 'nowhere', which is not in the file"));
}

TEST_CASE("a file that is not a training checkpoint is refused for what it holds") {
  CHECK_THAT(refusal_to_read(training_fixtures + "state_dict.pt"),
             ContainsSubstring("has no 'model' (keys found: 'weight', 'bias')"));
  CHECK_THAT(refusal_to_read(training_fixtures + "torchscript.pt"), ContainsSubstring("TorchScript"));
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model, "lm_head.weight", text("none"));
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("'lm_head.weight' is the string 'none'; expected a tensor"));
}

TEST_CASE("a pickle that would run code is refused by name and runs nothing") {
  CHECK_THAT(refusal_to_read(training_fixtures + "runs_code.pt"),
             ContainsSubstring("a call of 'posix.system', which demask does not run"));
  CHECK_THAT(refusal_to_read(training_fixtures + "runs_code_inside.pt"),
             ContainsSubstring("'model' is a call of 'posix.system'"));
  CHECK_FALSE(std::filesystem::exists("demask_was_here"));
}

TEST_CASE("optimizer state is not read: its storages need not even be there") {
  CheckpointFile file = tiny_checkpoint();
  PickledTensor absent;
  absent.key = "absent";
  absent.storage_numel = int64_t{1} << 40;
  file.others = {{"optimizer", object({{"state", absent.opcodes()}})}};
  CHECK(read(file).parameters.size() == 10);
}

TEST_CASE("a tensor of absurdly many dimensions is refused") {
  CheckpointFile file = tiny_checkpoint();
  PickledTensor deep;
  deep.sizes.assign(1000, 1);
  deep.strides = deep.sizes;
  set_entry(file.model, "lm_head.weight", deep.opcodes());
  CHECK_THAT(refusal_to_read(file), ContainsSubstring("'lm_head.weight' has 1000 dimensions"));
}

TEST_CASE("unknown objects in values that are not needed do no harm") {
  CheckpointFile file = tiny_checkpoint();
  file.others = {{"best_val_loss", call(global("numpy.core.multiarray", "scalar"), {})},
                 {"optimizer", call(global("posix", "system"), {text("touch demask_was_here")})},
                 {"config", object({{"dataset", text("letters")}})}};
  CHECK(read(file).dataset == "letters");
  CHECK_FALSE(std::filesystem::exists("demask_was_here"));
}

TEST_CASE(
    "a checkpoint that is overwritten in place changes no weight that is kept, whether its matrices are lent or not") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  tiny_checkpoint().write(path);
  const demask::TransformerWeights expected = nanogpt_weights(read_nanogpt_checkpoint(path));
  for (const bool lent : {false, true}) {
    CAPTURE(lent);
    tiny_checkpoint().write(path);
    const auto source = demask::open_nanogpt(path, at::TensorOptions(at::kFloat));
    if (lent) {
      source->lend();
    }
    const at::Tensor head = source->head().weight;
    CHECK(head.equal(expected.head.weight));
    const at::Tensor embedding = source->token_embedding(), positions = source->position_embedding();
    const demask::LayerWeights layer = source->layer(0);
    CHECK(layer.expand.weight.equal(expected.layers[0].expand.weight));
    const demask::NormWeights norm = source->final_norm();
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file << std::string(std::filesystem::file_size(path), '\0');
    }
    CHECK(head.equal(expected.head.weight) == !lent);  // or the test does not test
    CHECK(embedding.equal(expected.token_embedding));
    CHECK(positions.equal(expected.position_embedding));
    CHECK(layer.attention_norm.weight.equal(expected.layers[0].attention_norm.weight));
    CHECK(norm.weight.equal(expected.final_norm.weight));
  }
}

TEST_CASE("matrices are lent in float32 to who computes in bfloat16, where they are finite in it") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  for (const float largest :
       {1.0F, 3.395e38F, 3.396e38F}) {  // bfloat16 ends at 3.3895e38, and rounds up halfway to 2^128
    for (const float sign : {1.0F, -1.0F}) {
      CAPTURE(largest, sign);
      CheckpointFile file = tiny_checkpoint();
      set_entry(file.model, "lm_head.weight", "");
      at::Tensor head = at::full({3, 4}, 0.3F);
      head[2][1] = largest * sign;
      file.add_tensor("lm_head.weight", head);
      file.write(path);
      const auto source = demask::open_nanogpt(path, at::TensorOptions(at::kBFloat16));
      source->lend();
      if (at::isfinite(head.to(at::kBFloat16)).all().item<bool>()) {
        CHECK(at::equal(source->head().weight, head));
        CHECK(source->layer(0).expand.weight.scalar_type() == at::kFloat);
        CHECK(source->final_norm().weight.scalar_type() == at::kBFloat16);
      } else {
        CHECK_THAT(bad_input_message([&] { source->head(); }),
                   ContainsSubstring("'lm_head.weight' holds 1 numbers that are infinite in BFloat16, the first at "
                                     "[2, 1]"));
      }
    }
  }
}

TEST_CASE("matrices that are lent for good stay what they are while other parts are read") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  tiny_checkpoint().write(path);
  const demask::TransformerWeights expected = nanogpt_weights(read_nanogpt_checkpoint(path));
  auto source = demask::open_nanogpt(path, at::TensorOptions(at::kFloat));
  CHECK(source->lend_for_good() != nullptr);
  const at::Tensor head = source->head().weight;
  const demask::LayerWeights layer = source->layer(0);
  source->final_norm();
  source.reset();
  CHECK(head.equal(expected.head.weight));
  CHECK(layer.contract.weight.equal(expected.layers[0].contract.weight));
}
