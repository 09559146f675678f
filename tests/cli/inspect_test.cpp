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
