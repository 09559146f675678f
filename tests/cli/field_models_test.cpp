// The field's models as a user starts them: what its own sampling code writes with temperature 0, token by token.
// tests/fixtures/goldens holds the models and what their own code makes of them.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"
#include "tests/support/goldens.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

// The tokens of one sample with the prompt's ids.
json tokens_drawn(const std::string& checkpoint, const json& run, const std::string& device) {
  const TemporaryFolder folder;
  write_file(folder / "prompts.jsonl", json{{"id", "a"}, {"tokens", run["prompt_ids"]}}.dump() + "\n");
  std::vector<std::string> arguments = flags_for(run);
  arguments.insert(arguments.end(),
                   {"--checkpoint_name=" + checkpoint, "--prompts=" + (folder / "prompts.jsonl"), "--dtype=float32",
                    "--device=" + device, "--show_progress=False", "--output=" + (folder / "samples.jsonl")});
  const ProcessResult result = demask::testing::demask(arguments);
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  return read_json_lines(folder / "samples.jsonl").at(0)["tokens"];
}

void check_runs(const std::string& name, const std::string& checkpoint, const std::vector<size_t>& which) {
  const json runs = expected_of(name)["generate"];
  for (const std::string& device : devices()) {
    for (const size_t run : which) {
      CAPTURE(name, run, device);
      CHECK(tokens_drawn(goldens + name + "/model" + checkpoint, runs.at(run), device) == runs.at(run)["output_ids"]);
    }
  }
}

}  // namespace

TEST_CASE("Models that write from left to right write what the field's own code writes") {
  for (const std::string name : {"gpt2", "gpt2-sharded", "llama", "llama-ropescaled", "qwen2", "qwen3"}) {
    check_runs(name, "", {0});
  }
  check_runs("qwen2", "/model.safetensors", {0});
  check_runs("nanogpt", "/ckpt.pt", {0});
  check_runs("nanogpt-nobias", "/ckpt.pt", {0});
}

// Whatever else these options can be is drawn in one process, by tests/unit/engine/field_models_test.cpp.
TEST_CASE("LLaDA and Dream fill in what their own functions fill in") {
  check_runs("llada", "", {0, 7});
  check_runs("llada-gqa", "", {20});
  check_runs("dream", "", {0, 4, 8});
}
