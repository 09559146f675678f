// Greedy cases whose text was computed elsewhere, in float32 and float64 alike: tests/golden/*.json.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

json read_golden(const std::string& name) {
  return json::parse(read_file(std::string(DEMASK_SOURCE_DIR) + "/tests/golden/" + name));
}

// The shipped files under the names that the golden cases use.
std::string shipped(const std::string& checkpoint) {
  return checkpoint == "diffusion_small.pt" ? "diffusion.pt" : "standard.pt";
}

// Exports a shipped training checkpoint to TorchScript with the project's own tool.
std::string export_to(const TemporaryFolder& folder, const std::string& checkpoint) {
  const std::string source = std::string(DEMASK_SOURCE_DIR) + "/out/" + checkpoint;
  const std::string target = folder / checkpoint;
  const ProcessResult exported = run_process(
      {DEMASK_TEST_PYTHON, std::string(DEMASK_SOURCE_DIR) + "/tools/export_torchscript.py", source, target});
  INFO(exported.err);
  REQUIRE(exported.exit_code == 0);
  return target;
}

void check_infill(const json& expected, const std::string& checkpoint, const std::string& device) {
  const TemporaryFolder folder;
  const std::string output = folder / "sample.jsonl";
  const std::string text = folder / "template.txt";
  write_file(text, expected["infill_text"]);
  const ProcessResult result = demask::testing::demask(
      {"--sampling_method=diffusion", "--checkpoint_name=" + checkpoint, "--infill_text=FILE:" + text,
       "--num_samples=1", "--diffusion_iterations=" + expected["diffusion_iterations"].dump(),
       "--start_ratio=" + expected["start_ratio"].dump(), "--end_ratio=" + expected["end_ratio"].dump(),
       "--randomness_strength=" + expected["randomness_strength"].dump(),
       "--intelligent_remasking=" + std::string(expected["intelligent_remasking"].get<bool>() ? "True" : "False"),
       "--temperature=0", "--dtype=float32", "--device=" + device, "--dataset=char_diffusion", "--show_progress=False",
       "--output=" + output});
  INFO(checkpoint << " on " << device << ": " << result.err);
  REQUIRE(result.exit_code == 0);
  const json sample = read_json_lines(output).at(0);
  CHECK(sample["text"] == expected["expected"]);
  CHECK(sample["self_confidence"].get<double>() ==
        Catch::Approx(expected["self_confidence"].get<double>()).margin(1e-3));
}

void check_standard(const json& expected, const std::string& checkpoint, const std::string& device) {
  const TemporaryFolder folder;
  const std::string output = folder / "sample.jsonl";
  std::vector<std::string> arguments;
  for (const json& flag : expected["flags"]) {
    if (flag.get<std::string>().rfind("--checkpoint_name", 0) != 0) {
      arguments.push_back(flag);
    }
  }
  arguments.insert(arguments.end(), {"--checkpoint_name=" + checkpoint, "--dataset=shakespeare_char", "--dtype=float32",
                                     "--device=" + device, "--show_progress=False", "--output=" + output});
  const ProcessResult result = demask::testing::demask(arguments);
  INFO(checkpoint << " on " << device << ": " << result.err);
  REQUIRE(result.exit_code == 0);
  const json sample = read_json_lines(output).at(0);
  CHECK(sample["tokens"] == expected["tokens"][0]);
  CHECK(sample["text"] == expected["texts"][0]);
}

}  // namespace

TEST_CASE("Greedy infilling of training checkpoints gives the golden text and self-confidence") {
  for (const std::string& device : devices()) {
    for (const json& expected : read_golden("infill.json")) {
      check_infill(expected, shipped(expected["checkpoint"]), device);
    }
  }
}

TEST_CASE("Greedy infilling gives the same from a TorchScript export") {
  for (const std::string& device : devices()) {
    for (const json& expected : read_golden("infill.json")) {
      check_infill(expected, exported_diffusion, device);
    }
  }
}

TEST_CASE("Greedy autoregression gives the golden text, from the training checkpoint and from its export") {
  const TemporaryFolder exports;
  const std::string exported = export_to(exports, "standard.pt");
  for (const std::string& device : devices()) {
    for (const json& expected : read_golden("standard.json")) {
      check_standard(expected, "standard.pt", device);
      check_standard(expected, exported, device);
    }
  }
}
