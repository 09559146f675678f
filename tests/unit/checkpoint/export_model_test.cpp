#include "checkpoint/export_model.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "checkpoint/read_model.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/process.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

const std::string source = DEMASK_SOURCE_DIR;
const std::string goldens = source + "/tests/fixtures/goldens/";

bool same(const at::Tensor& left, const at::Tensor& right) {
  return left.defined() == right.defined() &&
         (!left.defined() || (left.scalar_type() == right.scalar_type() && left.equal(right)));
}

bool same(const LinearWeights& left, const LinearWeights& right) {
  return same(left.weight, right.weight) && same(left.bias, right.bias);
}

bool same(const NormWeights& left, const NormWeights& right) {
  return same(left.weight, right.weight) && same(left.bias, right.bias);
}

bool same(const LayerWeights& left, const LayerWeights& right) {
  return same(left.attention_norm, right.attention_norm) && same(left.query_key_value, right.query_key_value) &&
         same(left.query_norm, right.query_norm) && same(left.key_norm, right.key_norm) &&
         same(left.attention_projection, right.attention_projection) &&
         same(left.feed_forward_norm, right.feed_forward_norm) && same(left.expand, right.expand) &&
         same(left.contract, right.contract);
}

void check_same(const TransformerWeights& left, const TransformerWeights& right) {
  CHECK(left.description.family == right.description.family);
  CHECK(left.description.heads == right.description.heads);
  CHECK(left.description.key_value_heads == right.description.key_value_heads);
  CHECK(left.description.head_width == right.description.head_width);
  CHECK(left.description.block_size == right.description.block_size);
  CHECK(left.description.vocabulary_size == right.description.vocabulary_size);
  CHECK(left.description.outputs == right.description.outputs);
  CHECK(left.description.norm_epsilon == right.description.norm_epsilon);
  CHECK(left.description.activation == right.description.activation);
  CHECK(left.description.gated == right.description.gated);
  CHECK(left.description.rotary == right.description.rotary);
  CHECK(left.description.rotary_base == right.description.rotary_base);
  CHECK(left.description.rotary_scaling.has_value() == right.description.rotary_scaling.has_value());
  CHECK(left.description.bidirectional == right.description.bidirectional);
  CHECK(left.description.shifted == right.description.shifted);
  CHECK(left.description.binary_classification == right.description.binary_classification);
  CHECK(left.description.tied_head == right.description.tied_head);
  CHECK(left.description.mask_token_id == right.description.mask_token_id);
  CHECK(left.dataset == right.dataset);
  CHECK(same(left.token_embedding, right.token_embedding));
  CHECK(same(left.position_embedding, right.position_embedding));
  REQUIRE(left.layers.size() == right.layers.size());
  for (size_t number = 0; number < left.layers.size(); ++number) {
    CHECK(same(left.layers[number], right.layers[number]));
  }
  CHECK(same(left.final_norm, right.final_norm));
  CHECK(same(left.head, right.head));
}

TransformerWeights small_model() {
  return read_model_folder(goldens + "gpt2/model");
}

// Names and bytes of the tensors of a file, read without demask's reader.
json header_of(const std::string& path) {
  const std::string bytes = read_file(path);
  size_t length = 0;
  for (size_t i = 8; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return json::parse(bytes.substr(8, length));
}

}  // namespace

TEST_CASE("an exported model is read back as it was, in every family's own layout") {
  const std::string name =
      GENERATE("gpt2", "llada", "llada-gqa", "dream", "qwen2", "qwen3", "llama", "llama-ropescaled", "mdlm");
  CAPTURE(name);
  const TemporaryFolder folder;
  const TransformerWeights weights = read_model_folder(goldens + name + "/model");
  export_model(weights, folder / "model");
  check_same(read_model_folder(folder / "model"), weights);
}

TEST_CASE("an exported nanoGPT model is read back as it was, in the dtype that it is held in") {
  const std::string checkpoint =
      GENERATE(as<std::string>(), goldens + "nanogpt/model/ckpt.pt", goldens + "nanogpt-nobias/model/ckpt.pt",
               source + "/out/remasking.pt", source + "/tests/fixtures/checkpoints/parameters_bfloat16.pt");
  CAPTURE(checkpoint);
  const TemporaryFolder folder;
  const TransformerWeights weights = nanogpt_weights(read_nanogpt_checkpoint(checkpoint));
  export_model(weights, folder / "model");
  check_same(read_model_folder(folder / "model"), weights);
}

TEST_CASE("an exported folder has the family's own names and shapes") {
  const TemporaryFolder folder;
  export_model(read_model_folder(goldens + "dream/model"), folder / "model");
  const json written = header_of(folder / "model/model.safetensors");
  size_t tensors = 0;
  for (const char* shard : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    const json original = header_of(goldens + "dream/model/" + shard);
    for (const auto& [name, entry] : original.items()) {
      if (name != "__metadata__") {
        CAPTURE(name);
        REQUIRE(written.contains(name));
        CHECK(written[name]["shape"] == entry["shape"]);
        CHECK(written[name]["dtype"] == entry["dtype"]);
        ++tensors;
      }
    }
  }
  CHECK(written.size() == tensors + 1);
  const json config = json::parse(read_file(folder / "model/config.json"));
  CHECK(config["model_type"] == "Dream");
  CHECK(config["architectures"] == json({"DreamModel"}));
  CHECK(config["torch_dtype"] == "bfloat16");
}

TEST_CASE("files beside the model and the other fields of its config.json are exported with it") {
  const TemporaryFolder folder;
  ExportOptions options;
  options.files = {{"meta.json", "{}", ""}, {"vocab.json", "", goldens + "gpt2/model/vocab.json"}};
  options.config_source = goldens + "gpt2/model/config.json";
  export_model(small_model(), folder / "model", options);
  CHECK(read_file(folder / "model/meta.json") == "{}");
  CHECK(read_file(folder / "model/vocab.json") == read_file(goldens + "gpt2/model/vocab.json"));
  CHECK(json::parse(read_file(folder / "model/config.json"))["eos_token_id"] == 399);
}

TEST_CASE("a folder that is there already is not overwritten, an empty one is filled") {
  const TemporaryFolder folder;
  const TransformerWeights weights = small_model();
  std::filesystem::create_directory(folder / "model");
  export_model(weights, folder / "model/");
  CHECK_THAT(message_of([&] { export_model(weights, folder / "model"); }),
             ContainsSubstring("--export") && ContainsSubstring("there already"));
  write_file(folder / "file", "kept");
  CHECK_THAT(message_of([&] { export_model(weights, folder / "file"); }), ContainsSubstring("there already"));
  CHECK(read_file(folder / "file") == "kept");
}

TEST_CASE("an export that fails leaves nothing behind") {
  const TemporaryFolder folder;
  const TransformerWeights weights = small_model();
  SECTION("the disk is full") {
    const FileSizeLimit limit(100'000);
    CHECK_THAT(message_of([&] { export_model(weights, folder / "model"); }), ContainsSubstring("cannot be written"));
  }
  SECTION("a file to go with it is missing") {
    ExportOptions options;
    options.files = {{"vocab.json", "", folder / "none.json"}};
    CHECK_THAT(bad_input_message([&] { export_model(weights, folder / "model", options); }),
               ContainsSubstring("none.json"));
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}
