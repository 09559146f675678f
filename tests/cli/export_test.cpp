// The export tool, run as its users run it.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;

namespace {

const std::string fixtures = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/checkpoints/";

ProcessResult export_module(const std::string& source, const std::string& target, const TemporaryFolder& folder,
                            const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {
      DEMASK_TEST_PYTHON, std::string(DEMASK_SOURCE_DIR) + "/tools/export_torchscript.py", source, target};
  arguments.insert(arguments.end(), more.begin(), more.end());
  ProcessOptions options;
  options.directory = folder.path();
  return run_process(arguments, options);
}

}  // namespace

TEST_CASE("The export tool runs no code of a hostile checkpoint and writes nothing") {
  const TemporaryFolder folder;
  for (const char* hostile : {"runs_code.pt", "runs_code_inside.pt"}) {
    const ProcessResult result = export_module(fixtures + hostile, folder / "out.pt", folder);
    INFO(result.err);
    CHECK(result.exit_code != 0);
    CHECK(result.err.find(hostile) != std::string::npos);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE(
    "A compiled, tied training checkpoint with biases and optimizer state exports and samples as the original does") {
  const TemporaryFolder folder;
  const std::string original = fixtures + "training_float32.pt", exported = folder / "exported.pt";
  const ProcessResult result = export_module(original, exported, folder);
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  std::string letters;
  for (int id = 0; id < 20; ++id) {
    letters += (id == 0 ? "\"" : ", \"") + std::string(1, static_cast<char>('a' + id)) + "\"";
  }
  write_file(folder / "meta.json", "{\"vocab_size\": 20, \"itos\": [" + letters + "]}");
  const auto sample = [&](const std::string& checkpoint) {
    const ProcessResult sampled = demask::testing::demask(
        {"--sampling_method=standard", "--checkpoint_name=" + checkpoint, "--meta_path=" + (folder / "meta.json"),
         "--num_samples=1", "--max_new_tokens=40", "--start_text=abc", "--device=cpu", "--dtype=float32",
         "--output=" + (folder / "sample.jsonl")});
    INFO(sampled.err);
    REQUIRE(sampled.exit_code == 0);
    return read_json_lines(folder / "sample.jsonl").at(0)["tokens"];
  };
  CHECK(sample(exported) == sample(original));  // 43 tokens: past the block of 24
}
