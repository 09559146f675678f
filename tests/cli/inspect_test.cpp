// Looking into files with the real program, which loads no LibTorch for it.
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/cli/without_libtorch.h"
#include "tests/support/catch.h"
#include "tests/support/demask.h"
#include "tests/support/safetensors_files.h"

using namespace demask::testing;

namespace {

nlohmann::json inspect(const std::string& file) {
  const BrokenLibTorch libtorch;
  const ProcessResult result =
      demask::testing::demask({"--inspect=" + file, "--inspect_format=json"}, libtorch.options());
  CAPTURE(file, result.err);
  CHECK(result.exit_code == done);
  CHECK(result.err.empty());
  return nlohmann::json::parse(result.out);
}

}  // namespace

TEST_CASE("What is found in a file comes on stdout as one JSON object where that is asked for, without LibTorch") {
  CHECK(inspect("out/diffusion.pt")["use"]["sampling_method"] == "diffusion");
  CHECK(inspect(DEMASK_EXPORTED_DIFFUSION)["kind"] == "TorchScript module");
  CHECK(inspect("data/char_diffusion/meta.pkl")["kind"] == "vocabulary");
  // Whose tensors a run computes with before they are a transformer's.
  CHECK(inspect("tests/fixtures/goldens/mdlm/model")["model"]["family"] == "mdlm");
}

TEST_CASE("A file that a run would refuse is described, and ends with the run's error") {
  const TemporaryFolder folder;
  ModelFiles files = tiny_gpt2();
  files.config["model_type"] = "t5";
  files.write(folder / "model");
  const BrokenLibTorch libtorch;
  const ProcessResult inspected = demask::testing::demask({"--inspect=" + (folder / "model")}, libtorch.options());
  CHECK(inspected.exit_code == bad_input);
  CHECK(contains(inspected.out, "wte.weight"));
  CHECK(contains(inspected.err, "'model_type' is \"t5\""));
}

TEST_CASE("Of the files that a run wrote it is said what they are and that they are whole") {
  const TemporaryFolder folder;
  const std::string trace = folder / "trace.json", output = folder / "run.jsonl";
  REQUIRE(demask::testing::demask(quick({"--num_samples=2", "--trace=" + trace, "--output=" + output})).exit_code ==
          done);
  const nlohmann::json traced = inspect(trace), written = inspect(output);
  CHECK(traced["kind"] == "trace");
  CHECK(traced["method"] == "diffusion");
  CHECK(traced["samples"][0]["positions"] == 8);
  CHECK(written["lines"]["written"] == 2);
  CHECK(written["lines"]["of"] == 2);
  CHECK(written["header"]["seed"] == 1337);
}
