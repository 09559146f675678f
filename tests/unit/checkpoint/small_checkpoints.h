// Reading small nanoGPT checkpoints that a test makes, and what is said of those that are refused.
#pragma once

#include <string>

#include "checkpoint/nanogpt_checkpoint.h"
#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

namespace demask::testing {

inline std::string refusal_to_read(const std::string& path) {
  return bad_input_message([&] { read_nanogpt_checkpoint(path); });
}

// What reading `file` complains about; the message must name the file.
inline std::string refusal_to_read(const CheckpointFile& file) {
  const TemporaryFolder folder;
  file.write(folder / "x.pt");
  const std::string message = refusal_to_read(folder / "x.pt");
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring(folder / "x.pt"));
  return message;
}

inline NanoGptCheckpoint read(const CheckpointFile& file) {
  const TemporaryFolder folder;
  file.write(folder / "x.pt");
  return read_nanogpt_checkpoint(folder / "x.pt");
}

inline std::string with_args(const std::string& key, const std::string& opcodes) {
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model_args, key, opcodes);
  return refusal_to_read(file);
}

}  // namespace demask::testing
