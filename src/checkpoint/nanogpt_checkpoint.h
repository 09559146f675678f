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

namespace demask {

// The architecture, with nanoGPT's names and defaults.
struct ModelArgs {
  int64_t n_layer = 0;
  int64_t n_head = 0;
  int64_t n_embd = 0;
  int64_t block_size = 0;
  int64_t vocab_size = 0;
  bool bias = false;
  bool bidirectional = false;          // attention_type == 'bidirectional'; missing is causal
  bool rotary = false;                 // position_encoding == 'rotary'; missing is absolute
  bool binary_classification = false;  // lm_head gives two classes
  bool tied_head = false;              // no lm_head.weight of its own in the checkpoint

  int64_t output_size() const { return binary_classification ? 2 : vocab_size; }
};

struct NanoGptCheckpoint {
  ModelArgs args;
  std::map<std::string, at::Tensor>
      parameters;                      // state-dict name, prefix stripped, to tensor on the CPU, in the file's dtype
  std::optional<std::string> dataset;  // config['dataset']
};

// The state-dict names and shapes that a model of this architecture has; lm_head.weight is left out when tied_head.
std::vector<std::pair<std::string, std::vector<int64_t>>> expected_parameters(const ModelArgs& args);

// Turns each tensor, as it is read, into what the caller keeps (another dtype or device).
using ParameterConversion = std::function<at::Tensor(at::Tensor)>;

// Reads the checkpoint at `path`: runs no code, reads no optimizer state, and holds at most one unconverted tensor at a
// time. Throws Error(bad_input) that names the file and, for tensors, lists every missing, unexpected and misshapen
// one.
NanoGptCheckpoint read_nanogpt_checkpoint(const std::string& path, const ParameterConversion& convert = {});

}  // namespace demask
