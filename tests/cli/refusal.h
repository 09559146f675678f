// What every refused run has in common, whatever was wrong with its input.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

namespace demask::testing {

// As SPEC gives them to scripts.
constexpr int done = 0, bad_usage = 2, bad_input = 3, failed = 4, was_interrupted = 130, was_terminated = 143;

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

// A short run; arguments after these override them.
inline std::vector<std::string> quick(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--device=cpu",        "--dtype=float32",          "--num_samples=1",
                                  "--sequence_length=8", "--diffusion_iterations=2", "--show_progress=False"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

// The run ends with `exit_code` and one message that holds each of `parts`, prints no sample, and leaves an older
// output file as it was with nothing beside it.
inline void check_refused(const std::vector<std::string>& arguments, int exit_code,
                          const std::vector<std::string>& parts, const ProcessOptions& options = {}) {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.txt";
  write_file(output, "older");
  std::vector<std::string> all = {"--output=" + output};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const ProcessResult result = demask(quick(all), options);
  CAPTURE(arguments, result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(contains("\n" + result.err, "\ndemask: "));
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(contains(result.err, part));
  }
  CHECK_FALSE(contains(result.out, "SAMPLE"));
  CHECK(read_file(output) == "older");
  CHECK(names_in(folder.path()) == std::vector<std::string>{"samples.txt"});
}

}  // namespace demask::testing
