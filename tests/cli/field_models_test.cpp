// The field's models as a user starts them: what its own sampling code writes with temperature 0, token by token.
// tests/fixtures/goldens holds the models and what their own code makes of them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

const std::string goldens = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/";

json generated_by_the_field(const std::string& name) {
  return json::parse(read_file(goldens + name + "/expected.json"))["generate"];
}

std::string strategy_of(const std::string& algorithm) {
  return algorithm == "maskgit_plus" ? "confidence" : algorithm == "topk_margin" ? "margin" : algorithm;
}

// The options of LLaDA's and Dream's own functions as demask's flags, see docs/coming_from.md; both at temperature 0.
std::vector<std::string> flags_for(const json& run) {
  if (run.contains("new_tokens")) {
    return {"--sampling_method=standard", "--std_temperature=0",
            fmt::format("--max_new_tokens={}", run["new_tokens"].get<int64_t>())};
  }
  const auto prompt = static_cast<int64_t>(run["prompt_ids"].size());
  const int64_t drawn = run.contains("gen_length") ? run["gen_length"] : run["max_new_tokens"];
  std::vector<std::string> flags = {"--temperature=0",
                                    fmt::format("--diffusion_iterations={}", run["steps"].get<int64_t>()),
                                    fmt::format("--sequence_length={}", prompt + drawn)};
  if (run.contains("gen_length")) {  // LLaDA
    flags.insert(flags.end(),
                 {"--strategy=confidence", fmt::format("--block_length={}", run["block_length"].get<int64_t>()),
                  fmt::format("--cfg_scale={}", run["cfg_scale"].get<double>())});
    return flags;
  }
  flags.insert(flags.end(), {"--schedule_type=dream", "--strategy=" + strategy_of(run["alg"])});
  for (const char* filter : {"top_k", "top_p"}) {
    if (!run[filter].is_null()) {
      flags.insert(flags.end(), {fmt::format("--{}={}", filter, run[filter].dump()), "--confidence_source=filtered"});
    }
  }
  return flags;
}

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
  const json runs = generated_by_the_field(name);
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
