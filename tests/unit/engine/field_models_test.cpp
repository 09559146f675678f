// Every run of the goldens in this process: what LLaDA's and Dream's own functions fill in with temperature 0, and what
// left-to-right models write.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/command_line.h"
#include "core/error.h"
#include "engine/engine.h"
#include "model/device.h"
#include "tests/support/catch.h"
#include "tests/support/goldens.h"

using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

std::vector<int64_t> draw_one(const std::vector<std::string>& arguments, const std::vector<int64_t>& prompt_ids) {
  const Engine engine(parse_command_line(arguments).parsed);
  Prompt prompt;
  prompt.tokens = prompt_ids;
  prompt.num_samples = 1;
  const Work work = engine.work_of({{}, {prompt}, {}});
  std::vector<int64_t> tokens;
  DrawHooks hooks;
  hooks.on_batch = [&](const std::vector<SampleTask>& /*tasks*/, const std::vector<DrawnSample>& samples,
                       int64_t /*frontier*/) { tokens = samples.at(0).tokens; };
  engine.draw(work, work.first(), work.end(), work.samples(), hooks);
  return tokens;
}

void check_all_runs(const std::string& name, const std::string& file = "") {
  const std::vector<std::string> devices =
      cuda_device_count() > 0 ? std::vector<std::string>{"cpu", "cuda"} : std::vector<std::string>{"cpu"};
  const json runs = expected_of(name)["generate"];
  for (const std::string& device : devices) {
    for (const json& run : runs) {
      CAPTURE(name, device, run["min_top2_margin"], flags_for(run));
      std::vector<std::string> arguments = flags_for(run);
      arguments.insert(arguments.end(), {"--checkpoint_name=" + goldens + name + "/model" + file, "--dtype=float32",
                                         "--device=" + device});
      CHECK(draw_one(arguments, run["prompt_ids"]) == run["output_ids"].get<std::vector<int64_t>>());
    }
  }
}

}  // namespace

TEST_CASE("LLaDA fills in what its generate fills in, with any steps, blocks and guidance") {
  check_all_runs("llada");
  check_all_runs("llada-gqa");
}

TEST_CASE("Dream fills in what its diffusion_generate fills in, with any algorithm, steps and filters") {
  check_all_runs("dream");
}

TEST_CASE("A module that runs as it is keeps no keys and values, and says so") {
  const std::string module = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/modules/near_gpt_tanh.pt";
  const TemporaryFolder folder;
  write_file(folder / "meta.json",
             R"({"itos": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]})");  // and the mask
  const std::vector<std::string> arguments = {"--checkpoint_name=" + module, "--meta_path=" + (folder / "meta.json"),
                                              "--block_length=8", "--device=cpu"};
  CHECK_NOTHROW(Engine(parse_command_line(arguments).parsed));
  std::vector<std::string> cached = arguments;
  cached.emplace_back("--cache=dual");
  try {
    const Engine engine(parse_command_line(cached).parsed);
    FAIL("was taken");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_input);
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(message.find("cache='dual'") != std::string::npos);
    CHECK(message.find(module) != std::string::npos);
    CHECK(message.find("leave cache out") != std::string::npos);
  }
}

TEST_CASE("Models that write from left to right write what the field's own code writes, past their block too") {
  for (const std::string name : {"gpt2", "gpt2-sharded", "llama", "llama-ropescaled", "qwen2", "qwen3"}) {
    check_all_runs(name);
  }
  check_all_runs("nanogpt", "/ckpt.pt");
  check_all_runs("nanogpt-nobias", "/ckpt.pt");
}
