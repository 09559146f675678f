#include "checkpoint/model_folder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/finite_weights.h"
#include "checkpoint/read_model.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "tests/support/safetensors_files.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

// What reading the folder complains about.
std::string refusal_of_folder(const ModelFiles& files) {
  const TemporaryFolder folder;
  files.write(folder / "model");
  return bad_input_message([&] { read_model_folder(folder / "model"); });
}

// The tiny model in two shards, with its index among the other files.
ModelFiles sharded_gpt2() {
  ModelFiles files = tiny_gpt2();
  std::map<std::string, at::Tensor> first, second;
  json map = json::object();
  for (const auto& [name, tensor] : files.tensors) {
    const bool in_first = name < "h.0.ln_2";
    (in_first ? first : second).emplace(name, tensor);
    map[name] = in_first ? "a.safetensors" : "b.safetensors";
  }
  files.tensors.clear();
  files.others["a.safetensors"] = safetensors_of(first);
  files.others["b.safetensors"] = safetensors_of(second);
  files.others["model.safetensors.index.json"] = json{{"weight_map", map}}.dump();
  return files;
}

json index_of(const ModelFiles& files) {
  return json::parse(files.others.at("model.safetensors.index.json"));
}

void set_index(ModelFiles& files, const json& index) {
  files.others["model.safetensors.index.json"] = index.dump();
}

}  // namespace

TEST_CASE("a folder, its only file and its shards give one model") {
  const TemporaryFolder folder;
  tiny_gpt2().write(folder / "whole");
  sharded_gpt2().write(folder / "shards");
  const auto linear = [](const TransformerWeights& weights) { return weights.layers.at(0).query_key_value.weight; };
  const at::Tensor expected = at::arange(48, at::kFloat).reshape({4, 12}).t();
  for (const char* path : {"whole", "whole/", "whole/model.safetensors", "shards"}) {
    CAPTURE(path);
    REQUIRE(is_model_folder(folder / path));
    CHECK(linear(read_model_folder(folder / path)).equal(expected));
  }
  write_file(folder / "whole/text", "no model");
  CHECK_FALSE(is_model_folder(folder / "whole/text"));
}

TEST_CASE("each tensor passes through the conversion, and a tied head is the embedding") {
  const TemporaryFolder folder;
  tiny_gpt2().write(folder / "model");
  const TransformerWeights weights = read_model_folder(folder / "model", at::kBFloat16);
  CHECK(weights.final_norm.bias.scalar_type() == at::kBFloat16);
  CHECK(weights.layers[0].expand.weight.scalar_type() == at::kBFloat16);
  CHECK(weights.head.weight.is_same(weights.token_embedding));
  CHECK_FALSE(open_model_folder(folder / "model")->head().weight.defined());
}

TEST_CASE("parts of a folder come in any order, and what was handed over stays readable") {
  const TemporaryFolder folder;
  tiny_gpt2().write(folder / "model");
  const TransformerWeights weights = read_model_folder(folder / "model");
  const std::unique_ptr<WeightSource> source = open_model_folder(folder / "model");
  CHECK(source->options().dtype() == at::kFloat);
  const NormWeights norm = source->final_norm();
  const LayerWeights layer = source->layer(0);
  const at::Tensor embedding = source->token_embedding(), positions = source->position_embedding();
  CHECK(norm.weight.equal(weights.final_norm.weight));
  CHECK(layer.expand.weight.equal(weights.layers[0].expand.weight));
  CHECK(layer.feed_forward_norm.bias.equal(weights.layers[0].feed_forward_norm.bias));
  CHECK(embedding.equal(weights.token_embedding));
  CHECK(positions.equal(weights.position_embedding));
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const std::unique_ptr<WeightSource> by_rows = open_model_folder(folder / "model", dtype);
    const at::Tensor first = by_rows->token_embedding_rows(0, 3), last = by_rows->token_embedding_rows(3, 2);
    CHECK(at::cat({first, last}).equal(weights.token_embedding.to(dtype)));
  }
}

TEST_CASE("tensors of several dtypes are read as that of the token embedding") {
  ModelFiles files = tiny_gpt2();
  files.tensors["ln_f.bias"] = at::full({4}, 0.5, at::kBFloat16);
  files.tensors["h.0.mlp.c_fc.bias"] = at::full({16}, 0.25, at::kHalf);
  const TemporaryFolder folder;
  files.write(folder / "model");
  const TransformerWeights weights = read_model_folder(folder / "model");
  CHECK(weights.final_norm.bias.equal(at::full({4}, 0.5, at::kFloat)));
  CHECK(weights.layers[0].expand.bias.equal(at::full({16}, 0.25, at::kFloat)));
}

TEST_CASE("weights stay readable when the folder is gone") {
  const TemporaryFolder folder;
  tiny_gpt2().write(folder / "model");
  const TransformerWeights weights = read_model_folder(folder / "model");
  std::filesystem::remove_all(folder / "model");
  CHECK(weights.token_embedding.equal(at::arange(20, at::kFloat).reshape({5, 4})));
}

TEST_CASE("what is missing in a folder is named, with what is there") {
  const TemporaryFolder folder;
  const auto refusal_of = [&](const std::string& path) {
    return bad_input_message([&] { read_model_folder(folder / path); });
  };
  std::filesystem::create_directory(folder / "model");
  write_file(folder / "model/ckpt.pt", "x");
  CHECK_THAT(refusal_of("model"), ContainsSubstring("is no model's folder") && ContainsSubstring("ckpt.pt"));
  write_file(folder / "model/config.json", tiny_gpt2().config.dump());
  CHECK_THAT(refusal_of("model"), ContainsSubstring("has neither model.safetensors nor model.safetensors.index.json"));
  tiny_gpt2().write(folder / "model");
  std::filesystem::remove(folder / "model/config.json");
  CHECK_THAT(refusal_of("model"), ContainsSubstring("config.json") && ContainsSubstring("not found"));
  CHECK_THAT(refusal_of("none.safetensors"), ContainsSubstring("none.safetensors") && ContainsSubstring("not found"));
}

TEST_CASE("a configuration that is no JSON object, too long, too deep or ambiguous is refused") {
  const auto refusal_of = [](const std::string& config) {
    ModelFiles files = tiny_gpt2();
    files.others["config.json"] = config;
    const std::string message = refusal_of_folder(files);
    CHECK_THAT(message, ContainsSubstring("config.json"));
    return message;
  };
  CHECK_THAT(refusal_of("{"), ContainsSubstring("not JSON"));
  CHECK_THAT(refusal_of("[]"), ContainsSubstring("expected an object"));
  CHECK_THAT(refusal_of(R"({"n_layer": 1, "n_layer": 2})"), ContainsSubstring("'n_layer' twice"));
  CHECK_THAT(refusal_of(R"({"a":)" + std::string(100'000, '[')), ContainsSubstring("nests deeper"));
  CHECK_THAT(refusal_of("{}" + std::string(2 << 20, ' ')), ContainsSubstring("more than the 1048576 allowed"));
}

TEST_CASE("tensors that do not fit the configuration are named all at once") {
  ModelFiles files = tiny_gpt2();
  files.tensors.erase("ln_f.bias");
  files.tensors.emplace("extra", at::zeros({2}));
  files.tensors["h.0.mlp.c_fc.weight"] = at::zeros({16, 4});
  CHECK_THAT(refusal_of_folder(files),
             ContainsSubstring("Missing: ln_f.bias.") && ContainsSubstring("Unexpected: 'extra'.") &&
                 ContainsSubstring("Misshapen: h.0.mlp.c_fc.weight is [16, 4], expected [4, 16]."));
}

TEST_CASE("a field that contradicts the shape of a tensor is refused with the tensor's name") {
  const auto& [field, value, tensor] = GENERATE(table<std::string, int, std::string>({
      {"n_layer", 2, "Missing: h.1.ln_1.weight"},
      {"n_embd", 6, "h.0.attn.c_attn.weight is [4, 12], expected [6, 18]"},
      {"n_positions", 7, "wpe.weight is [6, 4], expected [7, 4]"},
      {"vocab_size", 6, "wte.weight is [5, 4], expected [6, 4]"},
      {"n_inner", 17, "h.0.mlp.c_fc.weight is [4, 16], expected [4, 17]"},
      {"n_layer", 4096, "more"},
  }));
  ModelFiles files = tiny_gpt2();
  files.config[field] = value;
  CAPTURE(field);
  CHECK_THAT(refusal_of_folder(files), ContainsSubstring(tensor));
}

TEST_CASE("weights that are not finite, or not in the dtype that runs, are refused by name") {
  ModelFiles files = tiny_gpt2();
  files.tensors["ln_f.weight"] = at::tensor({1.0F, NAN, 1.0F, 1.0F});
  CHECK_THAT(refusal_of_folder(files), ContainsSubstring("'ln_f.weight'") && ContainsSubstring("the first at [1]"));

  files = tiny_gpt2();
  files.tensors["ln_f.weight"] = at::full({4}, 1e6);
  const TemporaryFolder folder;
  files.write(folder / "model");
  CHECK_THAT(bad_input_message([&] { read_model_folder(folder / "model", at::kHalf); }),
             ContainsSubstring("'ln_f.weight'") && ContainsSubstring("infinite in"));
}

// What takes the place of looking at weights that are on a device already.
TEST_CASE("whether a weight is finite in the dtype that runs is known on the host before it is converted") {
  for (const double edge : {1.0, 65503.0, 65520.0, 1e6, -1e6, 3.3e38, 3.4e38, 1e300, static_cast<double>(INFINITY),
                            static_cast<double>(-INFINITY), static_cast<double>(NAN)}) {
    for (const at::ScalarType stored : {at::kFloat, at::kDouble}) {
      at::Tensor weight = at::linspace(-1, 1, 1000, at::kDouble);
      weight[700] = edge;
      weight = weight.to(stored);
      for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
        CAPTURE(edge, stored, dtype);
        CHECK(stays_finite(weight, dtype) == at::isfinite(weight.to(dtype)).all().item<bool>());
      }
    }
  }
}

TEST_CASE("buffers are read past in any dtype, and a stored head where the embedding is the head") {
  ModelFiles files = tiny_gpt2();
  files.tensors.emplace("h.0.attn.masked_bias", at::full({}, -1e4));
  files.tensors.emplace("lm_head.weight", at::zeros({5, 4}));
  const TemporaryFolder folder;
  files.write(folder / "model");
  const TransformerWeights weights = read_model_folder(folder / "model");
  CHECK(weights.head.weight.is_same(weights.token_embedding));
  files.config["tie_word_embeddings"] = false;
  files.write(folder / "untied");
  CHECK(read_model_folder(folder / "untied").head.weight.equal(at::zeros({5, 4})));
}

TEST_CASE("a shard that is missing, outside the folder or no name is refused") {
  ModelFiles files = sharded_gpt2();
  files.others.erase("b.safetensors");
  CHECK_THAT(refusal_of_folder(files),
             ContainsSubstring("b.safetensors' is missing") && ContainsSubstring("a.safetensors"));
  for (const json& shard : {json("../b.safetensors"), json("/etc/passwd"), json("sub/b.safetensors"), json(".."),
                            json("."), json(""), json("..\\b"), json(std::string("a\0b", 3)), json(3), json(nullptr)}) {
    CAPTURE(shard.dump());
    files = sharded_gpt2();
    json index = index_of(files);
    index["weight_map"]["wte.weight"] = shard;
    set_index(files, index);
    CHECK_THAT(refusal_of_folder(files),
               ContainsSubstring("'wte.weight' is said to lie in") && ContainsSubstring("index.json"));
  }
}

TEST_CASE("an index and its shards must agree on every tensor") {
  ModelFiles files = sharded_gpt2();
  json index = index_of(files);
  SECTION("a tensor that its shard does not hold") {
    index["weight_map"]["more"] = "a.safetensors";
    set_index(files, index);
    CHECK_THAT(refusal_of_folder(files), ContainsSubstring("'more'") && ContainsSubstring("does not hold it"));
  }
  SECTION("a tensor that the index does not name") {
    index["weight_map"].erase("wte.weight");
    set_index(files, index);
    CHECK_THAT(refusal_of_folder(files), ContainsSubstring("'wte.weight'") && ContainsSubstring("does not put there"));
  }
  SECTION("an index without a map") {
    set_index(files, {{"weight_map", json::array()}});
    CHECK_THAT(refusal_of_folder(files), ContainsSubstring("'weight_map'"));
  }
}

TEST_CASE("two shards that claim one tensor are both named") {
  ModelFiles files;
  files.config = tiny_gpt2().config;
  files.others["a.safetensors"] = safetensors_of({{"x", at::zeros({1})}});
  files.others["b.safetensors"] = safetensors_of({{"x", at::zeros({1})}, {"y", at::zeros({1})}});
  set_index(files, {{"weight_map", {{"x", "a.safetensors"}, {"y", "b.safetensors"}}}});
  CHECK_THAT(refusal_of_folder(files),
             ContainsSubstring("a.safetensors' and '") && ContainsSubstring("hold the tensor 'x'"));
}
