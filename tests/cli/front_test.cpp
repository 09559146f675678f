// What is answered without LibTorch, and the engine that the executable carries.
#include <torch/version.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"

using namespace demask::testing;

namespace {

// Files in the place of LibTorch's libraries that are none, so that whoever loads it fails. ld.so names the first.
void write_broken_libtorch(const TemporaryFolder& folder) {
  const std::string version = std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR);
  for (const std::string name : {"libtorch.so", "libtorch_cpu.so", "libc10.so"}) {
    for (const std::string& file : {name, name + "." + version}) {
      write_file(folder / file, "not a library");
    }
  }
}

}  // namespace

TEST_CASE(
    "Help, version, printed settings, errors in settings and merging need no LibTorch; drawing names what it lacks") {
  const TemporaryFolder folder;
  write_broken_libtorch(folder);
  ProcessOptions options;
  options.environment = {{"LD_LIBRARY_PATH", folder.path()}};
  struct Answer {
    std::vector<std::string> arguments;
    int exit_code;
    const char* part;  // of stdout and stderr
  };
  for (const Answer& answer : std::vector<Answer>{
           {{"--help"}, done, "--diffusion_iterations"},
           {{"--version"}, done, "LibTorch " TORCH_VERSION},
           {{"--strategy=best", "--print_config"}, done, "strategy = 'best'"},
           {{"--num_sample=2"}, bad_usage, "did you mean --num_samples?"},
           {{"--strategy=klass", "--kl_history=0"}, bad_usage, "kl_history"},
           {{folder / "missing.py"}, bad_input, "missing.py"},
           {{"--merge=" + (folder / "*.jsonl"), "--output=" + (folder / "all.jsonl")}, bad_input, "no file matches"},
       }) {
    const ProcessResult result = demask::testing::demask(answer.arguments, options);
    CAPTURE(answer.arguments, result.err);
    CHECK(result.exit_code == answer.exit_code);
    CHECK(contains(result.out + result.err, answer.part));
  }
  check_refused({}, failed, {"LibTorch could not be loaded: " + folder.path(), TORCH_VERSION, "LD_LIBRARY_PATH"},
                options);
}

TEST_CASE("The executable copied alone to another folder draws what it drew before") {
  const TemporaryFolder folder;
  const std::string alone = folder / "demask";
  std::filesystem::copy_file(DEMASK_BINARY, alone);
  const std::string source = DEMASK_SOURCE_DIR;
  std::vector<std::string> arguments = quick({"--out_dir=" + source + "/out", "--data_dir=" + source + "/data"});
  const auto text_of = [](const ProcessResult& result) { return result.out.substr(0, result.out.rfind("Generated")); };
  const std::string before = text_of(demask::testing::demask(arguments));
  CHECK(contains(before, "SAMPLE 1/1"));
  arguments.insert(arguments.begin(), alone);
  ProcessOptions options;
  options.directory = folder.path();
  const ProcessResult result = run_process(arguments, options);
  CAPTURE(result.err);
  CHECK(result.exit_code == done);
  CHECK(text_of(result) == before);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"demask"});
}
