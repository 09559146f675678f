// What is answered without LibTorch, and the engine that the executable carries.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/cli/without_libtorch.h"

using namespace demask::testing;

TEST_CASE(
    "Help, version, printed settings, errors in settings and merging need no LibTorch; drawing names what it lacks") {
  const TemporaryFolder folder;
  const BrokenLibTorch libtorch;
  const ProcessOptions options = libtorch.options();
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
  check_refused({}, failed, {"LibTorch could not be loaded: " + libtorch.path(), TORCH_VERSION, "LD_LIBRARY_PATH"},
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
