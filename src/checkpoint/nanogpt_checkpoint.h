// nanoGPT training checkpoints with their tensors in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>

#include "checkpoint/nanogpt_file.h"

namespace demask {

struct NanoGptCheckpoint {
  ModelArgs args;
  std::map<std::string, at::Tensor>
      parameters;                      // state-dict name, prefix stripped, to tensor on the CPU, in the file's dtype
  std::optional<std::string> dataset;  // config['dataset']
};

// Reads the whole checkpoint at `path`, no optimizer state, and holds at most one unconverted tensor at a time. Throws
// as NanoGptFile does.
NanoGptCheckpoint read_nanogpt_checkpoint(const std::string& path, const ParameterConversion& convert = {});

}  // namespace demask
