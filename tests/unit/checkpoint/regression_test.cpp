// Every input that a fuzzer broke a reader with, and every seed that it started from.
#include <string>
#include <vector>

#include "checkpoint/nanogpt_checkpoint.h"
#include "checkpoint/pickle.h"
#include "checkpoint/read_model.h"
#include "checkpoint/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/fuzz_inputs.h"
#include "tests/support/process.h"
#include "tests/support/safetensors_files.h"

// LibTorch does not free the zip directory of an archive that its reader refuses.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libtorch_cpu\n";
}

using demask::testing::fuzz_inputs;
using demask::testing::succeeds_or_reports;

TEST_CASE("every pickle of the fuzzers is read or refused, alone and as the pickle of a checkpoint") {
  const std::vector<std::string> paths = fuzz_inputs("pickle");
  CHECK(paths.size() >= 5);
  const demask::testing::TemporaryFolder folder;
  for (const std::string& path : paths) {
    CAPTURE(path);
    const std::string content = demask::testing::read_file(path);
    succeeds_or_reports([&] { demask::Pickle(content, path); });
    demask::testing::write_archive(folder / "x.pt", {{"data.pkl", content}, {"data/0", std::string(64, '\0')}});
    succeeds_or_reports([&] { demask::read_nanogpt_checkpoint(folder / "x.pt"); });
  }
}

TEST_CASE("every archive of the fuzzers is read or refused") {
  const std::vector<std::string> paths = fuzz_inputs("archive");
  CHECK(paths.size() >= 3);
  for (const std::string& path : paths) {
    CAPTURE(path);
    succeeds_or_reports([&] { demask::read_nanogpt_checkpoint(path); });
  }
}

TEST_CASE("every file of safetensors of the fuzzers is read or refused") {
  const std::vector<std::string> paths = fuzz_inputs("safetensors");
  CHECK(paths.size() >= 8);
  for (const std::string& path : paths) {
    CAPTURE(path);
    succeeds_or_reports([&] { demask::SafetensorsFile file(path); });
  }
}

TEST_CASE("every configuration of the fuzzers is read or refused, and does not fit a file without its tensors") {
  const std::vector<std::string> paths = fuzz_inputs("model_config");
  CHECK(paths.size() >= 10);
  const demask::testing::TemporaryFolder folder;
  demask::testing::write_file(folder / "model.safetensors", demask::testing::safetensors_of("{}"));
  for (const std::string& path : paths) {
    CAPTURE(path);
    demask::testing::write_file(folder / "config.json", demask::testing::read_file(path));
    CHECK_THROWS_AS(demask::read_model_folder(folder.path()), demask::Error);
  }
}
