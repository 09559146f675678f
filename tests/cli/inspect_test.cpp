// Looking into files with the real program.
#include <string>

#include "tests/cli/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/demask.h"
#include "tests/support/safetensors_files.h"

using namespace demask::testing;

TEST_CASE("What is found in a file comes on stdout, and is one JSON object where that is asked for") {
  const ProcessResult json = demask::testing::demask({"--inspect=out/diffusion.pt", "--inspect_format=json"});
  INFO(json.err);
  CHECK(json.exit_code == done);
  CHECK(json.err.empty());
  CHECK(nlohmann::json::parse(json.out)["use"]["sampling_method"] == "diffusion");
}

TEST_CASE("A file that a run would refuse is described, and ends with the run's error") {
  const TemporaryFolder folder;
  ModelFiles files = tiny_gpt2();
  files.config["model_type"] = "t5";
  files.write(folder / "model");
  const ProcessResult inspected = demask::testing::demask({"--inspect=" + (folder / "model")});
  CHECK(inspected.exit_code == bad_input);
  CHECK(contains(inspected.out, "wte.weight"));
  CHECK(contains(inspected.err, "'model_type' is \"t5\""));
}

TEST_CASE("Of the files that a run wrote it is said what they are and that they are whole") {
  const TemporaryFolder folder;
  const std::string trace = folder / "trace.json", output = folder / "run.jsonl";
  REQUIRE(demask::testing::demask(quick({"--num_samples=2", "--trace=" + trace, "--output=" + output})).exit_code ==
          done);
  const auto inspect = [](const std::string& file) {
    const ProcessResult result = demask::testing::demask({"--inspect=" + file, "--inspect_format=json"});
    INFO(result.err);
    CHECK(result.exit_code == done);
    return nlohmann::json::parse(result.out);
  };
  const nlohmann::json traced = inspect(trace), written = inspect(output);
  CHECK(traced["kind"] == "trace");
  CHECK(traced["method"] == "diffusion");
  CHECK(traced["samples"][0]["positions"] == 8);
  CHECK(written["lines"]["written"] == 2);
  CHECK(written["lines"]["of"] == 2);
  CHECK(written["header"]["seed"] == 1337);
}
