// What the programs of this folder do alike: common flags, files opened before the work, errors to exit codes.
#pragma once

#include <CLI/CLI.hpp>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/options.h"

namespace demask::bench {

// --device, --dtype, --out_dir and --data_dir, as demask's, and --hardware.
void add_common_flags(CLI::App& app, Options& options);

// A file that is opened before minutes of work, not after.
class ResultFile {
 public:
  // An empty path means that no file is wanted. Throws Error(bad_usage) where it cannot be written.
  explicit ResultFile(const std::string& path);
  // Does nothing where no file is wanted. Throws Error(failed) where not all of `text` could be written.
  void write(const std::string& text);

 private:
  std::string path_;
  std::ofstream file_;
};

// Whether one of the rows has the member "failed", as a row that failed is reported.
bool any_failed(const nlohmann::ordered_json& rows);

// Parses the arguments, does the work, and returns what the process exits with, having reported any error under the
// app's name.
int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& work);

}  // namespace demask::bench
