// Runs of the program that tests of lists, shards and resuming share.
#pragma once

#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/sanitized.h"

namespace demask::testing {

using Arguments = std::vector<std::string>;

inline Arguments join(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// Of a few milliseconds; in float32 on the CPU, where a sample is the same bits in any batch.
inline const Arguments small_run = {"--device=cpu",         "--dtype=float32",          "--num_samples=23",
                                    "--sequence_length=24", "--diffusion_iterations=3", "--batch_size=4",
                                    "--show_progress=False"};

inline ProcessResult run_done(const Arguments& arguments, const ProcessOptions& options = {}) {
  const ProcessResult result = demask::testing::demask(arguments, options);
  CAPTURE(arguments, result.err);
  REQUIRE(result.exit_code == done);
  return result;
}

inline std::string in_shell(const Arguments& arguments) {
  std::string command = "'" + std::string(DEMASK_BINARY) + "'";
  for (const std::string& argument : arguments) {
    command += " '" + argument + "'";
  }
  return command;
}

// Prompts of many lengths, a template and a seed among them. Indices 0 .. 10.
inline const char* const mixed_prompts =
    R"({"id": "short", "start_text": "O", "num_samples": 2})"
    "\n"
    R"({"id": "long", "start_text": "KING RICHARD III:\nNow is the winter of", "num_samples": 3})"
    "\n"
    R"({"id": 3, "start_text": ""})"
    "\n\n"
    R"({"id": "template", "infill_text": "ROMEO: #### and ##########", "num_samples": 2})"
    "\n"
    R"({"id": "own seed", "start_text": "JULIET:", "seed": 99, "num_samples": 2})"
    "\n"
    R"({"id": "shorter text", "start_text": "MERCUTIO:\n", "sequence_length": 31})"
    "\n";

}  // namespace demask::testing
