// demask as it is installed: the program, the library, and a program that somebody else builds on it.
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;

namespace {

void run(const std::vector<std::string>& arguments) {
  const ProcessResult result = run_process(arguments);
  INFO(arguments[0] << " " << arguments[1] << ": " << result.out << result.err);
  REQUIRE(result.exit_code == 0);
}

}  // namespace

TEST_CASE("The example program, built on an installed copy, draws the samples of the command line") {
  const TemporaryFolder folder;
  const std::string prefix = folder / "installed", source = DEMASK_SOURCE_DIR;
  run({"cmake", "--install", DEMASK_BUILD_DIR, "--prefix", prefix});
  run({"cmake", "-G", "Ninja", "-S", source + "/examples/library", "-B", folder / "build",
       "-DCMAKE_PREFIX_PATH=" + prefix});
  run({"cmake", "--build", folder / "build"});

  const std::string output = folder / "samples.jsonl";
  for (const std::vector<std::string>& method :
       {std::vector<std::string>{"--sampling_method=standard", "--max_new_tokens=40", "--start_text=ROMEO:"},
        std::vector<std::string>{"--sequence_length=64", "--diffusion_iterations=5"}}) {
    std::vector<std::string> settings = {"--num_samples=3", "--seed=5", "--out_dir=" + source + "/out",
                                         "--data_dir=" + source + "/data"};
    settings.insert(settings.end(), method.begin(), method.end());
    std::vector<std::string> program = {prefix + "/bin/demask", "--output=" + output, "--show_progress=False"};
    std::vector<std::string> example = {folder / "build/draw"};
    program.insert(program.end(), settings.begin(), settings.end());
    example.insert(example.end(), settings.begin(), settings.end());
    run(program);
    std::string expected;
    for (const nlohmann::json& sample : read_json_lines(output)) {
      expected += "SAMPLE " + sample["index"].dump() + "\n" + sample["text"].get<std::string>() + "\n";
    }
    const ProcessResult drawn = run_process(example);
    INFO(drawn.err);
    CHECK(drawn.exit_code == 0);
    CHECK(drawn.out == expected);
  }
  const ProcessResult refused = run_process({folder / "build/draw", "--temprature=1"});
  CHECK(refused.exit_code == 2);
  CHECK(refused.err.find("did you mean --temperature") != std::string::npos);
  CHECK(refused.out.empty());
}
