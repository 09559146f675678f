// nanoGPT training checkpoints: torch.save of {'model', 'model_args', 'config', ...}, read without Python.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/model_args.h"

namespace demask {

struct NanoGptCheckpoint {
  ModelArgs args;
  std::map<std::string, at::Tensor>
      parameters;                      // state-dict name, prefix stripped, to tensor on the CPU, in the file's dtype
  std::optional<std::string> dataset;  // config['dataset']
};

// Turns each tensor, as it is read, into what the caller keeps (another dtype or device).
using ParameterConversion = std::function<at::Tensor(at::Tensor)>;

// Reads the checkpoint at `path`: runs no code, reads no optimizer state, and holds at most one unconverted tensor at a
// time. Throws Error(bad_input) that names the file and, for tensors, lists every missing, unexpected and misshapen
// one.
NanoGptCheckpoint read_nanogpt_checkpoint(const std::string& path, const ParameterConversion& convert = {});

}  // namespace demask
