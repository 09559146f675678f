// Models' folders as a user meets them: what a run says of them, special tokens, the end of a text, exporting.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/goldens.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

const std::string gpt2 = goldens + "gpt2/model";
const std::string torchscript = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/modules/gpt_nanogpt.pt";
const std::string nanogpt = goldens + "nanogpt/model/ckpt.pt";

std::string sha256sum(const std::vector<std::string>& files, const std::string& folder) {
  std::string command = "cd '" + folder + "' && sha256sum";
  for (const std::string& file : files) {
    command += " " + file;
  }
  return run_process({"/bin/sh", "-c", command + " | sha256sum"}).out.substr(0, 64);
}

// Runs demask on the CPU in float32 and gives the objects of its JSON lines.
std::vector<json> draw(std::vector<std::string> arguments, const std::string& output) {
  arguments.insert(arguments.end(), {"--device=cpu", "--dtype=float32", "--show_progress=False", "--output=" + output});
  const ProcessResult result = demask::testing::demask(arguments);
  INFO(result.err);
  REQUIRE(result.exit_code == done);
  return read_objects(output);
}

std::vector<json> draw_standard(const std::string& checkpoint, std::vector<std::string> more = {}) {
  const TemporaryFolder folder;
  more.insert(more.end(), {"--sampling_method=standard", "--checkpoint_name=" + checkpoint, "--max_new_tokens=8",
                           "--num_samples=2"});
  return draw(more, folder / "samples.jsonl");
}

void export_to(const std::string& checkpoint, const std::string& folder, std::vector<std::string> more = {}) {
  more.insert(more.end(), {"--checkpoint_name=" + checkpoint, "--export=" + folder});
  const ProcessResult result = demask::testing::demask(more);
  INFO(result.err);
  REQUIRE(result.exit_code == done);
  CHECK(result.out.empty());
}

}  // namespace

TEST_CASE(
    "A run's header names a folder by the bytes of its configuration and weights, and its vocabulary by its own") {
  const json header = draw_standard(gpt2).at(0);
  CHECK(header["checkpoint"] == gpt2);
  CHECK(header["checkpoint_sha256"] == sha256sum({"config.json", "model.safetensors"}, gpt2));
  CHECK(header["vocabulary"] == gpt2 + "/tokenizer.json");
  CHECK(header["vocabulary_sha256"] == sha256sum({"tokenizer.json", "merges.txt", "tokenizer_config.json"}, gpt2));
}

TEST_CASE("A run on a folder goes on with --resume; nothing in the folder is written over") {
  const TemporaryFolder folder;
  const std::string model = folder / "model", output = folder / "samples.jsonl";
  std::filesystem::copy(gpt2, model, std::filesystem::copy_options::recursive);
  const std::vector<std::string> arguments = {"--sampling_method=standard", "--checkpoint_name=" + model,
                                              "--max_new_tokens=4", "--num_samples=3"};
  const std::vector<json> whole = draw(arguments, output);
  const std::string lines = read_file(output);
  write_file(output, lines.substr(0, lines.find('\n', lines.find('\n') + 1) + 1));  // the header and a sample
  std::vector<std::string> resumed = arguments;
  resumed.push_back("--resume=True");
  CHECK(draw(resumed, output) == whole);
  for (const std::string file : {"config.json", "tokenizer.json"}) {
    std::vector<std::string> over = arguments;
    over.push_back("--trace=" + model + "/" + file);
    check_refused(over, bad_usage, {file, "input of this run"});
  }
}

TEST_CASE("An empty prompt begins after the end of another text; special text is text unless it is asked for") {
  const json sample = draw_standard(gpt2).at(1);
  const int64_t end = sample["tokens"][0];
  CHECK(sample["tokens"].size() == 9);
  CHECK_FALSE(contains(sample["text"], "<|endoftext|>"));
  const json parsed = draw_standard(gpt2, {"--start_text=<|endoftext|>", "--parse_special=True"}).at(1);
  CHECK(parsed["tokens"] == sample["tokens"]);
  CHECK(contains(parsed["text"], "<|endoftext|>"));
  const json as_text = draw_standard(gpt2, {"--start_text=<|endoftext|>"}).at(1);
  CHECK(as_text["tokens"].size() > 9);
  CHECK(as_text["tokens"][0] != end);
}

TEST_CASE("What no folder can be used for is refused with what to do") {
  check_refused({"--checkpoint_name=" + gpt2}, bad_input, {gpt2, "cannot do diffusion", "--sampling_method=standard"});
  check_refused({"--remasking_checkpoint_name=" + gpt2}, bad_input, {gpt2, "not a remasking model", "two classes"});
  check_refused({"--sampling_method=standard", "--checkpoint_name=standard.pt", "--stop_at_end=True"}, bad_usage,
                {"stop_at_end", "end-of-text"});
  const TemporaryFolder folder;
  std::filesystem::copy(gpt2, folder / "model", std::filesystem::copy_options::recursive);
  write_file(folder / "model/config.json", R"({"model_type": "mamba", "architectures": ["MambaForCausalLM"]})");
  check_refused({"--checkpoint_name=" + (folder / "model")}, bad_input, {"config.json", "mamba", "llada", "gpt2"});
}

TEST_CASE("An exported model draws what the original draws, from its own vocabulary") {
  const TemporaryFolder folder;
  for (const std::string& original : {nanogpt, goldens + "llama/model"}) {
    const std::string copy = folder / (original == nanogpt ? "nanogpt" : "llama");
    export_to(original, copy);
    std::vector<json> expected = draw_standard(original, {"--start_text=To be"}),
                      drawn = draw_standard(copy, {"--start_text=To be"});
    CHECK(contains(drawn.at(0)["vocabulary"], copy));
    for (size_t k = 1; k < expected.size(); ++k) {
      CHECK(drawn.at(k)["tokens"] == expected.at(k)["tokens"]);
      CHECK(drawn.at(k)["text"] == expected.at(k)["text"]);
    }
  }
}

TEST_CASE("Exporting takes the place of sampling, and of no file that is there") {
  const TemporaryFolder folder;
  const std::string target = folder / "model";
  check_refused({"--export=" + target, "--output=samples.jsonl"}, bad_usage, {"export", "output"});
  check_refused({"--export=" + target, "--output=None", "--checkpoint_name=" + torchscript}, bad_input,
                {"TorchScript", "natively"});
  check_refused({"--export=" + target, "--output=None", "--checkpoint_name=absent.pt"}, bad_input, {"absent.pt"});
  CHECK_FALSE(std::filesystem::exists(target));
  std::filesystem::create_directories(target);
  write_file(target + "/mine", "x");
  check_refused({"--export=" + target, "--output=None", "--checkpoint_name=" + nanogpt}, bad_usage, {"export", target});
  CHECK(read_file(target + "/mine") == "x");
}

TEST_CASE("A diffusion model's export knows its mask, and a remasking model's can be one") {
  const TemporaryFolder folder;
  export_to("diffusion.pt", folder / "diffusion");
  export_to("remasking.pt", folder / "remasking");
  const json config = json::parse(read_file(folder / "diffusion/config.json"));
  CHECK(config["mask_token_id"] == 65);
  const auto draw_with = [&](const std::string& model, const std::string& judge) {
    return draw({"--checkpoint_name=" + model, "--remasking_checkpoint_name=" + judge, "--sequence_length=24",
                 "--diffusion_iterations=4", "--num_samples=1"},
                folder / "samples.jsonl")
        .at(1)["tokens"];
  };
  CHECK(draw_with(folder / "diffusion", folder / "remasking") == draw_with("diffusion.pt", "remasking.pt"));
}
