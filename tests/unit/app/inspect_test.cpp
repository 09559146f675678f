#include "app/inspect/inspect.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "app/inspect/tensor_list.h"
#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "tests/support/safetensors_files.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;
using testing::bad_input_message;
using testing::TemporaryFolder;
using testing::write_file;

const std::string source = DEMASK_SOURCE_DIR;

FileReport inspect(const std::string& path) {
  Config config;
  config.data_dir = source + "/data";
  config.inspect = path;
  return inspect_file(config);
}

Json facts_of(const std::string& path) {
  const FileReport report = inspect(path);
  INFO(to_text(report));
  CHECK(!report.refusal);
  return report.facts;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The lines of a run file of 4 samples as docs/at_scale.md has them.
const std::string header =
    R"({"demask":"0.1.0","format":1,"method":"diffusion","seed":7,"first":2,"samples":4,"settings":{}})"
    "\n";

std::string sample_line(int index) {
  return "{\"index\":" + std::to_string(index) + ",\"text\":\"a\"}\n";
}

}  // namespace

TEST_CASE("Of each training checkpoint that is shipped it is said what its card says, and how it is used") {
  const Json diffusion = facts_of(source + "/out/diffusion.pt");
  CHECK(diffusion["kind"] == "nanoGPT training checkpoint");
  CHECK(diffusion["model"]["family"] == "nanogpt");
  CHECK(diffusion["model"]["layers"] == 6);
  CHECK(diffusion["model"]["positions"] == "rotary");
  CHECK(diffusion["model"]["attention"] == "bidirectional");
  CHECK(diffusion["precision"].size() == 1);
  CHECK(diffusion["precision"]["float16"] == diffusion["parameters"]);
  CHECK(std::abs(diffusion["parameters"].get<double>() / 1e6 - 4.8) < 0.05);
  CHECK(diffusion["vocabulary"]["file"] == source + "/data/char_diffusion/meta.pkl");
  CHECK(diffusion["vocabulary"]["tokens"] == 65);
  CHECK(diffusion["use"]["sampling_method"] == "diffusion");
  CHECK(diffusion["use"]["mask_token_id"] == 65);
  CHECK(diffusion["use"]["block_size"] == 512);
  CHECK(contains(diffusion["use"]["command"], "--checkpoint_name=" + source + "/out/diffusion.pt"));

  const Json standard = facts_of(source + "/out/standard.pt");
  CHECK(standard["model"]["attention"] == "causal");
  CHECK(standard["use"]["sampling_method"] == "standard");
  CHECK(contains(standard["use"]["command"], "--sampling_method=standard"));
  CHECK(contains(standard["use"]["refuses_diffusion"], "no row for a mask token"));

  const Json remasking = facts_of(source + "/out/remasking.pt");
  CHECK(contains(remasking["use"]["key"], "--remasking_checkpoint_name="));

  const Json english = facts_of(source + "/out/english.pt");
  CHECK(english["vocabulary"]["file"] == source + "/data/english/tokenizer.json");
  CHECK(english["use"]["mask_token_id"] == 4096);
}

TEST_CASE("A TorchScript module has the tensors of the checkpoint that it was exported from, without being loaded") {
  const Json exported = facts_of(DEMASK_EXPORTED_DIFFUSION), original = facts_of(source + "/out/diffusion.pt");
  CHECK(exported["kind"] == "TorchScript module");
  CHECK(exported["parameters"] == original["parameters"]);
  CHECK(exported["use"]["sampling_method"] == "diffusion");
  CHECK(exported["use"]["mask_token_id"] == 65);
  const Json foreign = inspect(source + "/tests/fixtures/modules/gpt_nanogpt.pt").facts;  // its vocabulary is unknown
  const Json& first = foreign["tensors"][0];
  CHECK(first["name"] == "transformer.wte.weight");
  CHECK(first["shape"] == std::vector<int64_t>{12, 16});
  CHECK(first["dtype"] == "float16");
}

TEST_CASE("Of a model's folder the family, the method and the sizes are told for every family") {
  for (const auto& entry : std::filesystem::directory_iterator(source + "/tests/fixtures/goldens")) {
    const std::string folder = entry.path() / "model";
    if (!std::filesystem::exists(folder + "/config.json")) {
      continue;  // nanoGPT's, which are checkpoints
    }
    INFO(folder);
    const Json facts = facts_of(folder);
    CHECK(facts["kind"] == "model folder");
    const std::string family = facts["model"]["family"];
    CHECK(contains(entry.path().filename().string(), family));
    const bool fills_masks = family == "llada" || family == "dream" || family == "mdlm";
    CHECK(facts["use"]["sampling_method"] == (fills_masks ? "diffusion" : "standard"));
    CHECK(facts["use"].contains("mask_token_id") == fills_masks);
    CHECK(facts["parameters"] > 0);
    CHECK(!facts["tensors"].empty());
  }
}

TEST_CASE("Of each kind of vocabulary it is said which it is and what it has") {
  const Json meta = facts_of(source + "/data/char_diffusion/meta.pkl");
  CHECK(meta["form"] == "nanoGPT's meta");
  CHECK(meta["of"] == "characters");
  CHECK(meta["tokens"] == 65);
  const Json gpt2 = facts_of(source + "/data/gpt2");  // a folder with merges.txt alone
  CHECK(gpt2["form"] == "merges.txt alone");
  CHECK(gpt2["tokens"] == 50257);
  CHECK(gpt2["end_of_text"] == 50256);
  CHECK(facts_of(source + "/data/english/tokenizer.json")["form"] == "tokenizer.json");
  const std::string dream = source + "/tests/fixtures/goldens/dream/model/vocab.json";
  CHECK(facts_of(dream)["form"] == "vocab.json with merges.txt");
  const TemporaryFolder folder;
  write_file(folder / "small.tiktoken", "YQ== 0\nYg== 1\nYWI= 2\n");
  CHECK(inspect(folder / "small.tiktoken").facts["form"] == "ranks as tiktoken's");
}

TEST_CASE("Of a run file it is said how far it goes, by its first line and its last") {
  const TemporaryFolder folder;
  const std::string path = folder / "run.jsonl";
  write_file(path, header + sample_line(2) + sample_line(3));
  const Json half = facts_of(path);
  CHECK(half["kind"] == "run file");
  CHECK(half["lines"]["written"] == 2);
  CHECK(half["lines"]["of"] == 4);
  CHECK(half["lines"]["torn_line_at_the_end"] == false);
  CHECK(contains(half["use"], "--resume=True"));
  CHECK(half["header"]["seed"] == 7);
  write_file(path, header + sample_line(2) + "{\"index\":3,\"te");
  CHECK(facts_of(path)["lines"]["written"] == 1);
  CHECK(facts_of(path)["lines"]["torn_line_at_the_end"] == true);
  write_file(path, header + sample_line(2) + sample_line(3) + sample_line(4) + sample_line(5));
  CHECK(contains(facts_of(path)["use"], "complete"));
  write_file(path, header);
  CHECK(facts_of(path)["lines"]["written"] == 0);
  write_file(path, "{\"demask\":\"0.1.0\",\"form");
  CHECK(contains(bad_input_message([&] { inspect(path); }), "its first line"));
}

TEST_CASE("A model that demask does not read is described as far as it goes, with the refusal of a run") {
  const TemporaryFolder folder;
  testing::ModelFiles files = testing::tiny_gpt2();
  files.config["model_type"] = "t5";
  files.config["architectures"] = {"T5ForConditionalGeneration"};
  files.write(folder.path());
  const FileReport report = inspect(folder.path());
  REQUIRE(report.refusal);
  CHECK(report.refusal->code() == ExitCode::bad_input);
  CHECK(report.facts["model_type"] == "t5");
  CHECK(report.facts["tensors"].size() == files.tensors.size());
  CHECK(contains(report.facts["refused"], "'model_type' is \"t5\""));

  const FileReport plain = inspect(source + "/tests/fixtures/checkpoints/state_dict.pt");
  REQUIRE(plain.refusal);
  CHECK(plain.facts["kind"] == "file of torch.save");
  CHECK(!plain.facts["keys"].empty());
}

TEST_CASE("A model of 16 GB is looked into without reading its tensors") {
  const TemporaryFolder folder;
  const std::string config =
      R"({"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 1024, "n_positions": 6, "vocab_size": 4000000,
          "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"]})";
  write_file(folder / "config.json", config);
  Json tensors = Json::object();
  size_t bytes = 0;
  const auto add = [&](const std::string& name, const std::vector<size_t>& shape) {
    size_t count = sizeof(float);
    for (const size_t size : shape) {
      count *= size;
    }
    tensors[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {bytes, bytes + count}}};
    bytes += count;
  };
  add("wte.weight", {4000000, 1024});
  add("wpe.weight", {6, 1024});
  write_file(folder / "model.safetensors", testing::safetensors_of(tensors.dump()));
  const auto whole = std::filesystem::file_size(folder / "model.safetensors") + bytes;
  REQUIRE(::truncate((folder / "model.safetensors").c_str(), static_cast<off_t>(whole)) == 0);  // sparse
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto start = std::chrono::steady_clock::now();
  const FileReport report = inspect(folder.path());
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ::getrusage(RUSAGE_SELF, &after);
  CHECK(report.facts["parameters"] == 4000000LL * 1024 + 6 * 1024);
  CHECK(contains(report.facts["refused"], "Missing"));
  CHECK(elapsed_s < 1);                                   // reading 16 GB of zeros takes several
  CHECK(after.ru_maxrss - before.ru_maxrss < 64 * 1024);  // KiB
}

TEST_CASE("What is damaged, hostile or no file of demask's ends in an error that names it") {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  const auto message = [&](const std::string& content) {
    write_file(path, content);
    return bad_input_message([&] { inspect(path); });
  };
  const std::string checkpoint = testing::read_file(source + "/tests/fixtures/checkpoints/training_float32.pt");
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "is empty"},
      {checkpoint.substr(0, checkpoint.size() / 2), "damaged or truncated"},
      {"GGUF" + std::string(100, '\0'), "GGUF file of llama.cpp"},
      {"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"},
      {"<!DOCTYPE html><html></html>", "web page"},
      {"{\"format\":\"demask trace\",\"version\":9}", "version 9"},
      {"once upon a time", "--inspect takes"},
  };
  for (const auto& [content, part] : wrong) {
    const auto refusal = [&](const std::string& of) {
      write_file(path, of);
      try {
        const FileReport report = inspect(path);
        return report.refusal ? std::string(report.refusal->what()) : std::string("no error");
      } catch (const Error& error) {
        return std::string(error.what());
      }
    };
    const std::string said = content.size() < 4 ? message(content) : refusal(content);
    INFO(said);
    CHECK(contains(said, part));
    CHECK(contains(said, path));
  }
  CHECK(contains(bad_input_message([&] { inspect(folder / "absent"); }), "absent"));
  CHECK(contains(bad_input_message([&] { inspect(folder.path()); }), "neither a model's nor a vocabulary's"));
  for (const char* hostile : {"runs_code.pt", "runs_code_inside.pt", "legacy.pt"}) {
    const std::string file = source + "/tests/fixtures/checkpoints/" + hostile;
    INFO(hostile);
    const auto ends = [&] {
      const FileReport report = inspect(file);
      return report.refusal ? throw Error(*report.refusal) : report;
    };
    CHECK(contains(bad_input_message(ends), hostile));
  }
}

TEST_CASE("Text shows tensors that differ in the layer's number as one line") {
  FileReport report;
  add_tensors({{"h.0.a", "float32", {2, 3}}, {"h.1.a", "float32", {2, 3}}, {"b", "int64", {1}, false}}, report.facts);
  CHECK(report.facts["parameters"] == 12);
  const std::string text = to_text(report);
  CHECK(contains(text, "h.*.a"));
  CHECK(contains(text, "float32 [2,3]  x 2"));
  CHECK(contains(text, "int64 [1]"));
}

}  // namespace demask
