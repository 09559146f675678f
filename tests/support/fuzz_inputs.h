// What the fuzzers started from, and what they broke a reader with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

namespace demask::testing {

inline std::vector<std::string> fuzz_inputs(const std::string& reader) {
  std::vector<std::string> paths;
  for (const char* folder : {"seeds", "regressions"}) {
    const std::filesystem::path inputs = std::filesystem::path(DEMASK_SOURCE_DIR) / "tests/fuzz" / folder / reader;
    if (!std::filesystem::exists(inputs)) {
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(inputs)) {
      paths.push_back(entry.path());
    }
  }
  return paths;
}

// Any other exception, a crash or a sanitizer report fails the test.
template <typename Action>
void succeeds_or_reports(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_input);
  }
}

}  // namespace demask::testing
