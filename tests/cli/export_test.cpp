// The export tool, run as its users run it.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
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

TEST_CASE(
    "The export tool strips wrappers' prefixes, decodes NumPy's scalars and refuses a model that it does not know") {
  using namespace pickled;
  const TemporaryFolder folder;
  CheckpointFile file = tiny_checkpoint();
  for (auto& entry : file.model) {
    entry.first = "module._orig_mod." + entry.first;
  }
  const std::string type = call(global("numpy", "dtype"), {text("i8"), boolean(false), boolean(true)}) +
                           tuple({integer(3), text("<"), none()}) + "b";
  const std::string bytes = call(global("_codecs", "encode"), {text("\3\0\0\0\0\0\0\0"s), text("latin1")});
  set_entry(file.model_args, "vocab_size", call(global("numpy.core.multiarray", "scalar"), {type, bytes}));
  set_entry(file.model_args, "n_kv_head", integer(1));
  file.write(folder / "wrapped.pt");
  const ProcessResult wrapped = export_module(folder / "wrapped.pt", folder / "out.pt", folder);
  INFO(wrapped.err);
  CHECK(wrapped.exit_code == 0);

  set_entry(file.model_args, "rope_theta", integer(500000));
  file.write(folder / "other.pt");
  const ProcessResult other = export_module(folder / "other.pt", folder / "out.pt", folder);
  CHECK(other.exit_code == 3);
  CHECK(other.err.find("model_args['rope_theta'] is 500000") != std::string::npos);
}
