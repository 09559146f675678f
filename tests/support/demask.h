// Runs the real demask as a user would.
#pragma once

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/process.h"

namespace demask::testing {

// out/diffusion.pt as the export tool turns it into TorchScript.
inline const std::string exported_diffusion = DEMASK_EXPORTED_DIFFUSION;

// The working directory is the source tree unless the options name another, so that default paths find the shipped
// files.
inline ProcessResult demask(std::vector<std::string> arguments, ProcessOptions options = {}) {
  arguments.insert(arguments.begin(), DEMASK_BINARY);
  if (options.directory.empty()) {
    options.directory = DEMASK_SOURCE_DIR;
  }
  return run_process(arguments, options);
}

// The objects of a JSON lines file, in order: the run's header, then its samples.
inline std::vector<nlohmann::json> read_objects(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(lines, line);) {
    objects.push_back(nlohmann::json::parse(line));
  }
  return objects;
}

inline nlohmann::json read_header(const std::string& path) {
  return read_objects(path).at(0);
}

// The samples alone.
inline std::vector<nlohmann::json> read_json_lines(const std::string& path) {
  std::vector<nlohmann::json> objects = read_objects(path);
  objects.erase(objects.begin());
  return objects;
}

// The devices of this machine that demask can use: always the CPU, and CUDA where it says so.
inline std::vector<std::string> devices() {
  const std::string version = demask({"--version"}).out;
  const bool cuda =
      version.find("seen") != std::string::npos && version.find("no CUDA device seen") == std::string::npos;
  return cuda ? std::vector<std::string>{"cpu", "cuda"} : std::vector<std::string>{"cpu"};
}

}  // namespace demask::testing
